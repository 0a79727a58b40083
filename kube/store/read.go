package store

import (
	"encoding/json"
	"fmt"

	"codeberg.org/minipod/minipod/state"
)

// ConfigMap returns what a ConfigMap holds: its text, and its binary keys.
func ConfigMap(dirs state.Dirs, namespace, name string) (data map[string]string, binary map[string][]byte, err error) {
	var object struct {
		Data       map[string]string `json:"data"`
		BinaryData map[string][]byte `json:"binaryData"`
	}
	err = read(dirs, Key{KindConfigMap, namespace, name}, &object)
	return object.Data, object.BinaryData, err
}

// Secret returns what a Secret holds.
func Secret(dirs state.Dirs, namespace, name string) (map[string][]byte, error) {
	var object struct {
		Data map[string][]byte `json:"data"`
	}
	err := read(dirs, Key{KindSecret, namespace, name}, &object)
	return object.Data, err
}

// Claim returns the name of a PersistentVolumeClaim's volume, as `minipod volume` knows it: the claim's spec.volumeName, or one of its own,
// NAMESPACE_NAME. Kubernetes' names have no underscore, so two claims never share the latter.
func Claim(dirs state.Dirs, namespace, name string) (volume string, err error) {
	var object struct {
		Spec struct {
			VolumeName string `json:"volumeName"`
		} `json:"spec"`
	}
	if err := read(dirs, Key{KindClaim, namespace, name}, &object); err != nil {
		return "", err
	}
	if object.Spec.VolumeName != "" {
		return object.Spec.VolumeName, nil
	}
	return namespace + "_" + name, nil
}

func read(dirs state.Dirs, k Key, object any) error {
	data, err := get(dirs, k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, object); err != nil {
		return fmt.Errorf("decode %s: %w", k, err)
	}
	return nil
}
