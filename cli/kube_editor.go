package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
)

func (a *app) editVerb() *urfave.Command {
	return &urfave.Command{
		Name: "edit", Usage: "Change pods and other objects in an editor", ArgsUsage: "TYPE NAME    or    TYPE/NAME    or    -f FILE", Category: groupPods,
		Description: "The editor is $KUBE_EDITOR, else $EDITOR, else vi. What others change meanwhile stays. What is not valid comes back into the editor, with the reason above;\n" +
			"leave it as it is to give up.\n\n" + examples("minipod edit configmap settings", "KUBE_EDITOR=nano minipod edit pod/web"),
		Flags:  append(manifestFlags("edit the objects of a `FILE`, all files of a folder, or - for standard input"), namespaceFlag()),
		Action: a.aboutPods(a.edit),
	}
}

func (a *app) edit(c *urfave.Context) error {
	found, failed := a.named(c)
	for _, o := range found {
		if err := a.editObject(o); err != nil {
			failed = a.said(failed, err)
		}
	}
	return failed
}

const editHeader = `# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
`

// editObject has the editor change one object until it is valid, or is left as it is.
func (a *app) editObject(o *kubeObject) error {
	var before []byte // JSON
	_, _, err := a.modify(o, true, func(old []byte) (*manifest.Object, bool, error) {
		before = old
		return nil, false, nil
	})
	if err != nil {
		return err
	}
	text, err := manifest.YAML(before)
	if err != nil {
		return err
	}
	var wrong error
	for {
		file, edited, err := a.editText(o, text, wrong)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(edited)) == 0 || bytes.Equal(edited, text) {
			return a.editCancelled(file, edited, text, wrong)
		}
		changed, did, err := a.modify(o, false, func(old []byte) (*manifest.Object, bool, error) {
			return manifest.Edit(o.kind.kind, before, edited, old)
		})
		switch {
		case err == nil && did:
			return errors.Join(os.Remove(file), a.sayWritten(changed, "edited", ""))
		case err == nil: // another order, or what another has made so meanwhile
			return a.editCancelled(file, edited, edited, nil)
		case errors.Is(err, errMissing):
			fmt.Fprintf(a.err, "A copy of your changes has been stored to %q\n", file)
			return err
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		text, wrong = edited, err
	}
}

// editCancelled is the end of an edit that has changed nothing.
func (a *app) editCancelled(file string, edited, text []byte, wrong error) error {
	if wrong != nil {
		a.report(wrong)
		fmt.Fprintf(a.err, "A copy of your changes has been stored to %q\n", file)
		return errors.New("Edit cancelled, no valid changes were saved.") //nolint:revive,staticcheck // kubectl's words
	}
	why := "no changes made."
	if len(bytes.TrimSpace(edited)) == 0 && !bytes.Equal(edited, text) {
		why = "saved file was empty."
	}
	fmt.Fprintln(a.err, "Edit cancelled, "+why)
	return os.Remove(file)
}

// editText opens the editor, and returns the file and what is in it without comments.
func (a *app) editText(o *kubeObject, text []byte, wrong error) (file string, edited []byte, err error) {
	f, err := os.CreateTemp("", "minipod-edit-*.yaml") // 0600: it may be a Secret's
	if err != nil {
		return "", nil, err
	}
	file = f.Name()
	head := editHeader
	if wrong != nil {
		head += fmt.Sprintf("# %s %q was not valid:\n# * %s\n#\n", o.kind.plural, o.meta.Name, strings.ReplaceAll(wrong.Error(), "\n", "\n# "))
	}
	_, err = f.Write(append([]byte(head), text...))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", nil, err
	}
	editor := cmp.Or(os.Getenv("KUBE_EDITOR"), os.Getenv("EDITOR"), "vi")
	// The variable is a command with arguments, as for git and kubectl. A key's SIGINT is the editor's to understand (C-g in emacs), and the shell is not to
	// end of it and take the text along.
	cmd := exec.Command("/bin/sh", "-c", `trap : INT QUIT; `+editor+` "$1"`, "minipod-edit", file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("there was a problem with the editor %q: %w", editor, err)
		return "", nil, hint.Wrap(errors.Join(err, os.Remove(file)), "name another: KUBE_EDITOR=nano minipod edit "+o.String())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	for line := range bytes.Lines(data) {
		if line[0] != '#' {
			edited = append(edited, line...)
		}
	}
	return file, edited, nil
}
