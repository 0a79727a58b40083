package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validate holds an object to the API server's rules (kubernetes/pkg/apis/core/validation), in its words and its order. The object has its
// defaults. Fields that are refused anyway are not looked into.
func validate(o object) field.ErrorList {
	var c checker
	c.metadata(meta(o))
	switch o := o.(type) {
	case *v1.Pod:
		c.pod(o)
	case *v1.ConfigMap:
		c.configMap(o)
	case *v1.Secret:
		c.secret(o)
	case *v1.PersistentVolumeClaim:
		c.claim(o)
	}
	return c.errs
}

func (c *checker) metadata(m *metav1.ObjectMeta) {
	p := field.NewPath("metadata")
	if m.Name == "" {
		c.required(p.Child("name"), "name or generateName is required")
	} else {
		c.invalid(p.Child("name"), m.Name, validation.IsDNS1123Subdomain(m.Name)...)
	}
	c.invalid(p.Child("namespace"), m.Namespace, validation.IsDNS1123Label(m.Namespace)...)
	c.labels(p.Child("labels"), m.Labels)
	c.annotations(p.Child("annotations"), m.Annotations)
}

func (c *checker) labels(p *field.Path, labels map[string]string) {
	for _, key := range sortedKeys(labels) {
		c.invalid(p, key, validation.IsQualifiedName(key)...)
		c.invalid(p, labels[key], validation.IsValidLabelValue(labels[key])...)
	}
}

// maxAnnotations is what all annotations of an object may have together.
const maxAnnotations = 256 << 10

func (c *checker) annotations(p *field.Path, annotations map[string]string) {
	size := 0
	for _, key := range sortedKeys(annotations) {
		size += len(key) + len(annotations[key])
		c.invalid(p, key, validation.IsQualifiedName(string(bytes.ToLower([]byte(key))))...)
	}
	if size > maxAnnotations {
		c.add(field.TooLong(p, "", maxAnnotations))
	}
}

func (c *checker) configMap(m *v1.ConfigMap) {
	size := 0
	for _, key := range sortedKeys(m.Data) {
		p := field.NewPath("data").Key(key)
		c.invalid(p, key, validation.IsConfigMapKey(key)...)
		if _, ok := m.BinaryData[key]; ok {
			c.invalid(p, key, "duplicate of key present in binaryData")
		}
		size += len(m.Data[key])
	}
	for _, key := range sortedKeys(m.BinaryData) {
		c.invalid(field.NewPath("binaryData").Key(key), key, validation.IsConfigMapKey(key)...)
		size += len(m.BinaryData[key])
	}
	if size > v1.MaxSecretSize {
		c.add(field.TooLong(field.NewPath("data"), "", v1.MaxSecretSize))
	}
}

func (c *checker) secret(s *v1.Secret) {
	data, size := field.NewPath("data"), 0
	for _, key := range sortedKeys(s.Data) {
		c.invalid(data.Key(key), key, validation.IsConfigMapKey(key)...)
		size += len(s.Data[key])
	}
	if size > v1.MaxSecretSize {
		c.add(field.TooLong(data, "", v1.MaxSecretSize))
	}
	need := func(keys ...string) {
		for _, key := range keys {
			if _, ok := s.Data[key]; !ok {
				c.required(data.Key(key), "")
			}
		}
	}
	isJSON := func(key string) {
		need(key)
		if value, ok := s.Data[key]; ok {
			if err := json.Unmarshal(value, &map[string]any{}); err != nil {
				c.invalid(data.Key(key), "<secret contents redacted>", err.Error())
			}
		}
	}
	switch s.Type {
	case v1.SecretTypeServiceAccountToken:
		if s.Annotations[v1.ServiceAccountNameKey] == "" {
			c.required(field.NewPath("metadata", "annotations").Key(v1.ServiceAccountNameKey), "")
		}
	case v1.SecretTypeDockercfg:
		isJSON(v1.DockerConfigKey)
	case v1.SecretTypeDockerConfigJson:
		isJSON(v1.DockerConfigJsonKey)
	case v1.SecretTypeBasicAuth:
		if s.Data[v1.BasicAuthUsernameKey] == nil && s.Data[v1.BasicAuthPasswordKey] == nil {
			need(v1.BasicAuthUsernameKey, v1.BasicAuthPasswordKey)
		}
	case v1.SecretTypeSSHAuth:
		if len(s.Data[v1.SSHAuthPrivateKey]) == 0 {
			c.required(data.Key(v1.SSHAuthPrivateKey), "")
		}
	case v1.SecretTypeTLS:
		need(v1.TLSCertKey, v1.TLSPrivateKeyKey)
	}
}

func (c *checker) claim(claim *v1.PersistentVolumeClaim) {
	p := field.NewPath("spec")
	s := &claim.Spec
	if len(s.AccessModes) == 0 {
		c.required(p.Child("accessModes"), "at least 1 access mode is required")
	}
	alone := false
	for _, mode := range s.AccessModes {
		oneOf(c, p.Child("accessModes"), mode, v1.ReadOnlyMany, v1.ReadWriteMany, v1.ReadWriteOnce, v1.ReadWriteOncePod)
		alone = alone || mode == v1.ReadWriteOncePod
	}
	if alone && len(s.AccessModes) > 1 {
		c.forbidden(p.Child("accessModes"), "may not use ReadWriteOncePod with other access modes")
	}
	storage := p.Child("resources").Key("storage")
	if size, ok := s.Resources.Requests[v1.ResourceStorage]; !ok {
		c.required(storage, "")
	} else if size.Sign() <= 0 {
		c.invalid(storage, size.String(), "must be greater than zero")
	}
	if s.VolumeName != "" {
		c.volumeName(p.Child("volumeName"), s.VolumeName)
	}
	if s.StorageClassName != nil && *s.StorageClassName != "" {
		c.invalid(p.Child("storageClassName"), *s.StorageClassName, validation.IsDNS1123Subdomain(*s.StorageClassName)...)
	}
	oneOf(c, p.Child("volumeMode"), *s.VolumeMode, v1.PersistentVolumeBlock, v1.PersistentVolumeFilesystem)
}

// volumeName holds a claim's volume to the rule for names of volumes, which is docker's.
func (c *checker) volumeName(p *field.Path, name string) {
	bad := len(name) < 2 || len(name) > 255
	for i, b := range []byte(name) {
		alphanumeric := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		bad = bad || !alphanumeric && (i == 0 || b != '_' && b != '.' && b != '-')
	}
	if bad {
		c.invalid(p, name, fmt.Sprintf("must name a volume: 2 to 255 of %s", "[a-zA-Z0-9_.-], the first a letter or a digit"))
	}
}
