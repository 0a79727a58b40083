package print

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"codeberg.org/minipod/minipod/pod"
)

// An Object is what all objects have, and what the tables show of those that are no pods.
type Object struct {
	Kind     string       `json:"kind"`
	Metadata pod.Metadata `json:"metadata"`

	Data       map[string]json.RawMessage `json:"data"`       // of a ConfigMap or a Secret
	BinaryData map[string]string          `json:"binaryData"` // of a ConfigMap, in base64
	Type       string                     `json:"type"`       // of a Secret

	Spec   Claim       `json:"spec"` // of a PersistentVolumeClaim
	Status ClaimStatus `json:"status"`
}

// A Claim is a v1.PersistentVolumeClaimSpec.
type Claim struct {
	AccessModes      []string      `json:"accessModes"`
	VolumeName       string        `json:"volumeName"`
	VolumeMode       *string       `json:"volumeMode"`
	StorageClassName *string       `json:"storageClassName"`
	Resources        pod.Resources `json:"resources"`
}

// A ClaimStatus is a v1.PersistentVolumeClaimStatus.
type ClaimStatus struct {
	Phase    string                  `json:"phase"`
	Capacity map[string]pod.Quantity `json:"capacity"`
}

// ConfigMaps is the table of `get configmaps`.
func ConfigMaps(objects []Object, now time.Time) Table {
	t := Table{Columns: columns("NAME", "DATA", "AGE")}
	for _, o := range objects {
		t.Rows = append(t.Rows, []string{o.Metadata.Name, strconv.Itoa(len(o.Data) + len(o.BinaryData)), Age(now, o.Metadata.Created)})
	}
	return t
}

// Secrets is the table of `get secrets`.
func Secrets(objects []Object, now time.Time) Table {
	t := Table{Columns: columns("NAME", "TYPE", "DATA", "AGE")}
	for _, o := range objects {
		t.Rows = append(t.Rows, []string{o.Metadata.Name, cmp.Or(o.Type, "Opaque"), strconv.Itoa(len(o.Data)), Age(now, o.Metadata.Created)})
	}
	return t
}

// Claims is the table of `get persistentvolumeclaims`.
func Claims(objects []Object, now time.Time) Table {
	t := Table{Columns: append(columns("NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS MODES", "STORAGECLASS", "VOLUMEATTRIBUTESCLASS", "AGE"), wide("VOLUMEMODE")...)}
	for _, o := range objects {
		capacity, modes := "", ""
		if o.Spec.VolumeName != "" { // it is bound
			capacity, modes = string(cmp.Or(o.Status.Capacity["storage"], o.Spec.Resources.Requests["storage"])), accessModes(o.Spec.AccessModes)
		}
		phase := cmp.Or(o.Status.Phase, pod.Pending)
		if o.Metadata.Deleted != nil {
			phase = "Terminating"
		}
		t.Rows = append(t.Rows, []string{
			o.Metadata.Name, phase, o.Spec.VolumeName, capacity, modes, deref(o.Spec.StorageClassName), "<unset>",
			Age(now, o.Metadata.Created), cmp.Or(deref(o.Spec.VolumeMode), "<unset>"),
		})
	}
	return t
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// accessModes are kubectl's abbreviations, in its order.
func accessModes(modes []string) string {
	var short []string
	for _, mode := range []struct{ name, short string }{
		{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"},
	} {
		if slices.Contains(modes, mode.name) {
			short = append(short, mode.short)
		}
	}
	return strings.Join(short, ",")
}

// Labels is the cell of --show-labels.
func Labels(labels map[string]string) string {
	if len(labels) == 0 {
		return "<none>"
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%s", name, labels[name]))
	}
	return strings.Join(pairs, ",")
}
