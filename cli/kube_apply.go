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
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
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
			"as far as Kubernetes lets it be.\n\n" +
			examples("minipod apply -f web.yaml", "minipod apply -f manifests/ -R", "generate-it | minipod apply -f -", "minipod apply -f web.yaml --dry-run=client"),
		Flags: append(manifestFlags("the manifest: a `FILE`, all .yaml, .yml and .json files of a folder, or - for standard input"), writeFlags()...),
		Action: a.aboutPods(func(c *urfave.Context) error {
			if err := checkArgs(c, 0, 0); err != nil {
				return err
			}
			return a.write(c, false)
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
	return append(manifestFlags("make what is in the manifest: a `FILE`, all files of a folder, or - for standard input"), writeFlags()...)
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
				return a.write(c, true)
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

// write applies or creates all that the flags name, one after the other: what is wrong with one does not hold up the rest.
func (a *app) write(c *urfave.Context, create bool) error {
	dry, err := dryRun(c)
	if err != nil {
		return err
	}
	form := c.String("output")
	if !slices.Contains([]string{"", "name", "json", "yaml"}, form) {
		return usageError(c, fmt.Sprintf("unknown output form %q: use name, json or yaml", form))
	}
	if len(c.StringSlice("filename")) == 0 {
		return badUsage(errors.New("must specify -f"), "write -f FILE, or -f - for standard input")
	}
	objects, failed := a.readManifests(c, create)
	for _, o := range objects {
		how, err := a.writeObject(o, create, dry != "")
		if err == nil {
			err = a.sayWritten(o, how+dryNote(dry), form)
		}
		if err != nil {
			failed = a.said(failed, err)
		}
	}
	return failed
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

// writeObject makes an object what it is to be, and answers what became of it: created, configured or unchanged.
func (a *app) writeObject(o *manifest.Object, create, dry bool) (string, error) {
	if o.Kind == kindPod {
		return a.writePod(o, create, dry)
	}
	how := ""
	done := errors.New("done") // keeps Update from writing
	err := store.Update(a.dirs, o.Kind, o.Namespace, o.Name, func(old []byte) ([]byte, error) {
		var err error
		switch {
		case old == nil:
			how, err = "created", o.Created(newUID(), time.Now())
		case create:
			return nil, alreadyExists(o)
		default:
			how, err = updated(o.Update(old))
		}
		if err == nil && (dry || how == "unchanged") {
			err = done
		}
		return o.JSON, err
	})
	if errors.Is(err, done) {
		err = nil
	}
	return how, err
}

func updated(changed bool, err error) (string, error) {
	if changed {
		return "configured", err
	}
	return "unchanged", err
}

func alreadyExists(o *manifest.Object) error {
	kind, err := findKind(o.Kind)
	if err != nil {
		return err
	}
	return hint.Wrap(serverError("AlreadyExists", "%s %q already exists", kind.plural, o.Name), "change what is there with: minipod apply -f")
}

func (a *app) writePod(o *manifest.Object, create, dry bool) (string, error) {
	there, err := pod.Find(a.dirs, o.Namespace, o.Name)
	switch {
	case errors.Is(err, pod.ErrNotFound):
		return "created", a.createPod(o, dry)
	case err != nil:
		return "", err
	case create:
		return "", alreadyExists(o)
	}
	if there.Metadata.Deleted != nil {
		fmt.Fprintf(a.err, "Warning: Detected changes to resource %s which is currently being deleted.\n", o.Name)
	}
	before, err := there.Manifest()
	if err != nil {
		return "", err
	}
	how, err := updated(o.Update(before))
	if err != nil || dry || how == "unchanged" {
		return how, err
	}
	return how, pod.Change(a.dirs, there.Metadata.UID, o.JSON, func(p *pod.Pod) error {
		p.Spec, p.Metadata.Labels, p.Metadata.Annotations = o.Pod.Spec, o.Labels, o.Annotations
		return nil
	})
}

func (a *app) createPod(o *manifest.Object, dry bool) error {
	if dry {
		return nil
	}
	made, err := pod.Create(a.dirs, o.Pod, o.JSON)
	if errors.Is(err, pod.ErrExists) { // somebody else was faster
		return alreadyExists(o)
	}
	if err != nil {
		return err
	}
	return pod.Start(a.dirs, made.Metadata.UID)
}

// newUID is a version 4 UUID.
func newUID() string {
	h := []byte(linux.RandomID()[:32])
	h[12], h[16] = '4', "89ab"[h[16]&3]
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
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
