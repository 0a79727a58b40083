package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
)

func manifestFlags(usage string) []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{Name: "filename", Aliases: []string{"f"}, Usage: usage},
		&urfave.BoolFlag{Name: "recursive", Aliases: []string{"R"}, Usage: "with -f FOLDER: the files of the folders in it, too"},
	}
}

func dryRunFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "dry-run", Value: "none", Usage: "`HOW` to only tell what would be done: client or server, which do the same here"}
}

func dryRun(c *urfave.Context) (string, error) {
	switch how := c.String("dry-run"); how {
	case "", "none":
		return "", nil
	case "client", "server":
		return how, nil
	default:
		return "", usageError(c, fmt.Sprintf("invalid dry-run value (%s). Must be \"none\", \"server\", or \"client\"", how))
	}
}

func dryNote(how string) string {
	return map[string]string{"client": " (dry run)", "server": " (server dry run)"}[how]
}

func (a *app) applyVerb() *urfave.Command {
	return &urfave.Command{
		Name: "apply", Usage: "Make pods and other objects what a manifest says", ArgsUsage: "-f FILE", Category: groupPods,
		Description: "The manifest is Kubernetes' YAML or JSON; docs/kubernetes.md tells which fields do what. What is there already is changed,\n" +
			"as far as Kubernetes lets it be: what the file says holds, what the file applied before said and this one doesn't is taken away,\n" +
			"and what label, annotate and set image made stays where the file is silent.\n\n" +
			examples("minipod apply -f web.yaml", "minipod apply -f manifests/ -R", "generate-it | minipod apply -f -", "minipod apply -f web.yaml --dry-run=client",
				"minipod apply -f manifests/ --prune -l app=web"),
		Flags: append(append(manifestFlags("the manifest: a `FILE`, all .yaml, .yml and .json files of a folder, or - for standard input"), writeFlags()...), applyFlags()...),
		Action: a.aboutPods(func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				if file := c.Args().First(); len(c.StringSlice("filename")) == 0 {
					err = hint.Wrap(err, "name the manifest by its flag: minipod apply -f "+file)
				}
				return err
			}
			return a.apply(c)
		}),
	}
}

func writeFlags() []urfave.Flag {
	return []urfave.Flag{
		namespaceFlag(), dryRunFlag(),
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print the objects as `FORM`: name, json or yaml"},
	}
}

// createTable are docker's flags of create, and those of kubectl's form.
func createTable() []flags.Flag {
	return append(slices.DeleteFunc(flags.RunFlags(), isOfStart), flagTable(createFlags())...)
}

func createFlags() []urfave.Flag {
	return append(append(manifestFlags("make what is in the manifest: a `FILE`, all files of a folder, or - for standard input"), writeFlags()...),
		selectorFlag(),
		&urfave.BoolFlag{Name: "save-config", Usage: "keep the file in the object's annotation, as apply does, which then knows it"},
	)
}

// createAny is docker's create, or with -f kubectl's: docker's has no -f.
func (a *app) createAny(docker urfave.ActionFunc) urfave.ActionFunc {
	return func(c *urfave.Context) error {
		args := c.Args().Slice()
		settings, _, err := flags.Parse(createTable(), args)
		if err != nil || !slices.ContainsFunc(settings, func(s flags.Setting) bool { return s.Flag.Name == "filename" }) {
			return docker(c)
		}
		verb := &urfave.Command{
			Name: "create", Usage: "Make the pods and other objects of a manifest", ArgsUsage: "-f FILE", Flags: createFlags(),
			Action: a.aboutPods(func(c *urfave.Context) error {
				if err := checkArgs(c, 0, 0); err != nil {
					return err
				}
				_, err := a.write(c, true)
				return err
			}),
		}
		tree := &urfave.App{
			Name: "minipod", Commands: dressed([]*urfave.Command{verb}), DisableSliceFlagSeparator: true, HideHelpCommand: true,
			Reader: a.in, Writer: a.out, ErrWriter: a.err, ExitErrHandler: func(*urfave.Context, error) {}, OnUsageError: onUsageError,
		}
		arranged, err := arrange(tree, append([]string{"create"}, args...))
		if err != nil {
			return err
		}
		return tree.RunContext(c.Context, append([]string{tree.Name}, arranged...))
	}
}

// A writing is an `apply` or a `create -f` with its flags read.
type writing struct {
	create, save, force bool
	dry                 string
	form                string
}

// write applies or creates all that the flags name, one after the other: what is wrong with one does not hold up the rest. The objects that
// were written come back, too.
func (a *app) write(c *urfave.Context, create bool) (written []*manifest.Object, failed error) {
	w := writing{create: create, save: create && c.Bool("save-config"), force: !create && c.Bool("force"), form: c.String("output")}
	var err error
	if w.dry, err = dryRun(c); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "name", "json", "yaml"}, w.form) {
		return nil, usageError(c, fmt.Sprintf("unknown output form %q: use name, json or yaml", w.form))
	}
	if len(c.StringSlice("filename")) == 0 {
		return nil, badUsage(errors.New("must specify -f"), "write -f FILE, or -f - for standard input")
	}
	q, err := parseQuery(c)
	if err != nil {
		return nil, err
	}
	objects, failed := a.readManifests(c, create)
	if objects, err = selected(objects, q); err != nil {
		return nil, err
	}
	if len(objects) == 0 && failed == nil {
		return nil, hint.Wrap(fmt.Errorf("no objects passed to %s", c.Command.Name), "look at the labels in the files: -l chooses by them")
	}
	for _, o := range objects {
		how, err := a.writeObject(c.Context, o, w)
		if err == nil {
			err = a.sayWritten(o, how+dryNote(w.dry), w.form)
		}
		if err != nil {
			failed = a.said(failed, err)
			continue
		}
		written = append(written, o)
	}
	return written, failed
}

// selected are the objects of files that -l chooses.
func selected(objects []*manifest.Object, q query) (chosen []*manifest.Object, err error) {
	for _, o := range objects {
		ok, err := q.selector.Match(o.Labels, nil)
		if err != nil {
			return nil, err
		}
		if ok {
			chosen = append(chosen, o)
		}
	}
	return chosen, nil
}

func (a *app) sayWritten(o *manifest.Object, how, form string) error {
	for _, w := range o.Warnings {
		fmt.Fprintln(a.err, "Warning: "+w)
	}
	kind, err := findKind(o.Kind)
	if err != nil {
		return err
	}
	switch form {
	case "":
		_, err = fmt.Fprintf(a.out, "%s/%s %s\n", kind.singular(), o.Name, how)
	case "name":
		_, err = fmt.Fprintf(a.out, "%s/%s\n", kind.singular(), o.Name)
	default:
		if form == "yaml" {
			fmt.Fprintln(a.out, "---")
		}
		err = printRecords(a.out, form, json.RawMessage(o.JSON))
	}
	return err
}

// readManifests reads all objects that -f names. Those that are right come back beside the errors about the others.
func (a *app) readManifests(c *urfave.Context, create bool) (objects []*manifest.Object, failed error) {
	options := manifest.Options{Namespace: c.String("namespace"), Enforce: c.IsSet("namespace"), Generate: create}
	for _, name := range c.StringSlice("filename") {
		files, err := manifestFiles(name, c.Bool("recursive"))
		if err != nil {
			return objects, errors.Join(failed, err)
		}
		for _, file := range files {
			found, err := a.readManifest(options, file)
			objects = append(objects, found...)
			if err != nil {
				failed = a.said(failed, err)
			}
		}
	}
	return objects, failed
}

func (a *app) readManifest(o manifest.Options, file string) ([]*manifest.Object, error) {
	if file == "-" {
		return o.Decode(a.in, "standard input")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	defer f.Close()
	return o.Decode(f, file)
}

// manifestFiles are the files that one -f means.
func manifestFiles(name string, recursive bool) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, badUsage(fmt.Errorf("%s is not a file", name), "fetch it first: curl -fL "+name+" | minipod apply -f -")
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("the path %q does not exist", name), "write -f FILE, or -f - for standard input")
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var files []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != name && !recursive:
			return filepath.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = hint.Wrap(fmt.Errorf("error reading [%s]: recognized file extensions are [.json .yaml .yml]", name), "name a file, or look deeper with -R")
	}
	return files, err
}
