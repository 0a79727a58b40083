package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	linediff "github.com/rogpeppe/go-internal/diff"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/manifest"
	"codeberg.org/minipod/minipod/kube/store"
	"codeberg.org/minipod/minipod/pod"
)

func diffFlags() []urfave.Flag {
	return append(manifestFlags("show what apply would change: a `FILE`, all files of a folder, or - for standard input"), namespaceFlag(), selectorFlag())
}

// The statuses of kubectl's diff: as diff(1)'s.
const (
	exitDiffers    = 1
	exitDiffFailed = 2
)

// diffAny is docker's diff, or with -f kubectl's.
func (a *app) diffAny(c *urfave.Context) error {
	if len(c.StringSlice("filename")) == 0 {
		for _, flag := range []string{"selector", "namespace", "recursive"} {
			if c.IsSet(flag) {
				return usageError(c, "--"+flag+" goes with -f FILE")
			}
		}
		return a.inNamespace(a.diff)(c)
	}
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	a.revive()
	differs, err := a.diffManifests(c)
	switch {
	case err != nil:
		return hint.Exit(err, exitDiffFailed)
	case differs:
		return statusError(exitDiffers)
	}
	return nil
}

func (a *app) diffManifests(c *urfave.Context) (differs bool, failed error) {
	q, err := parseQuery(c)
	if err != nil {
		return false, err
	}
	objects, failed := a.readManifests(c, false)
	if objects, err = selected(objects, q); err != nil {
		return false, err
	}
	for _, o := range objects {
		live, merged, err := a.preview(o)
		if err != nil {
			failed = a.said(failed, err)
			continue
		}
		name := fmt.Sprintf("v1.%s.%s.%s", o.Kind, o.Namespace, o.Name)
		text := linediff.Diff("LIVE/"+name, live, "MERGED/"+name, merged)
		if _, err := a.out.Write(text); err != nil {
			return differs, err
		}
		differs = differs || len(text) > 0
	}
	return differs, failed
}

// preview is an object as it is, nothing where there is none, and as apply would make it, in YAML.
func (a *app) preview(o *manifest.Object) (live, merged []byte, err error) {
	if err := o.SaveConfig(); err != nil {
		return nil, nil, err
	}
	old, err := a.liveJSON(o)
	if err != nil {
		return nil, nil, err
	}
	if old != nil {
		if _, _, err := o.Apply(old); err != nil {
			return nil, nil, err
		}
	}
	before, err := compared(old)
	if err != nil {
		return nil, nil, err
	}
	after, err := compared(o.JSON)
	if err != nil {
		return nil, nil, err
	}
	if o.Kind == store.KindSecret {
		mask(before, after)
	}
	if live, err = asYAML(before); err != nil {
		return nil, nil, err
	}
	merged, err = asYAML(after)
	return live, merged, err
}

func (a *app) liveJSON(o *manifest.Object) ([]byte, error) {
	if o.Kind != kindPod {
		data, err := store.Get(a.dirs, o.Kind, o.Namespace, o.Name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return data, err
	}
	there, err := pod.Find(a.dirs, o.Namespace, o.Name)
	if errors.Is(err, pod.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return liveManifest(there)
}

// compared is an object without what changes with each apply.
func compared(data []byte) (map[string]any, error) {
	if data == nil {
		return nil, nil
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("decode what to compare: %w", err)
	}
	if m, ok := fields["metadata"].(map[string]any); ok {
		delete(m, "resourceVersion")
		delete(m, "generation")
		annotations, _ := m["annotations"].(map[string]any)
		if delete(annotations, manifest.LastApplied); len(annotations) == 0 {
			delete(m, "annotations")
		}
	}
	return fields, nil
}

// mask hides a Secret's values, and shows which of them differ.
func mask(before, after map[string]any) {
	was, _ := before["data"].(map[string]any)
	is, _ := after["data"].(map[string]any)
	for key, old := range maps.Clone(was) {
		was[key] = "***"
		if now, both := is[key]; both && now != old {
			was[key], is[key] = "*** (before)", "*** (after)"
		}
	}
	for key := range is {
		if is[key] != "*** (after)" {
			is[key] = "***"
		}
	}
}

func asYAML(fields map[string]any) ([]byte, error) {
	if fields == nil {
		return nil, nil
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return manifest.YAML(data)
}
