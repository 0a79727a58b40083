package pod

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Pod is what somebody wants. Names and shapes are those of Kubernetes' core/v1, as far as minipod does what they say: its JSON is a
// v1.Pod's. Package kube/manifest makes one out of YAML, with the defaults filled in, and refuses what would be lost here.
type Pod struct {
	Metadata Metadata `json:"metadata"`
	Spec     Spec     `json:"spec"`
}

// Metadata is what an object is known by.
type Metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	UID         string            `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Created     time.Time         `json:"creationTimestamp,omitzero"`
	Deleted     *time.Time        `json:"deletionTimestamp,omitempty"` // when it is to be gone
	Grace       *int64            `json:"deletionGracePeriodSeconds,omitempty"`
	Generation  int64             `json:"generation,omitempty"`
}

// Spec is a v1.PodSpec.
type Spec struct {
	Volumes                       []Volume            `json:"volumes,omitempty"`
	InitContainers                []Container         `json:"initContainers,omitempty"`
	Containers                    []Container         `json:"containers"`
	RestartPolicy                 string              `json:"restartPolicy"` // Always, OnFailure, Never
	TerminationGracePeriodSeconds *int64              `json:"terminationGracePeriodSeconds,omitempty"`
	ActiveDeadlineSeconds         *int64              `json:"activeDeadlineSeconds,omitempty"`
	DNSPolicy                     string              `json:"dnsPolicy,omitempty"` // ClusterFirst, ClusterFirstWithHostNet, Default, None
	DNSConfig                     *DNSConfig          `json:"dnsConfig,omitempty"`
	HostNetwork                   bool                `json:"hostNetwork,omitempty"`
	HostPID                       bool                `json:"hostPID,omitempty"`
	HostIPC                       bool                `json:"hostIPC,omitempty"`
	ShareProcessNamespace         *bool               `json:"shareProcessNamespace,omitempty"`
	SecurityContext               *PodSecurityContext `json:"securityContext,omitempty"`
	Hostname                      string              `json:"hostname,omitempty"`
	Subdomain                     string              `json:"subdomain,omitempty"`
	SetHostnameAsFQDN             *bool               `json:"setHostnameAsFQDN,omitempty"`
	HostAliases                   []HostAlias         `json:"hostAliases,omitempty"`
	EnableServiceLinks            *bool               `json:"enableServiceLinks,omitempty"`
	Resources                     *Resources          `json:"resources,omitempty"` // of the whole pod
	SchedulingGates               []SchedulingGate    `json:"schedulingGates,omitempty"`
}

// DNSConfig is a v1.PodDNSConfig.
type DNSConfig struct {
	Nameservers []string    `json:"nameservers,omitempty"`
	Searches    []string    `json:"searches,omitempty"`
	Options     []DNSOption `json:"options,omitempty"`
}

// A DNSOption is a word of resolv.conf's "options" line.
type DNSOption struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
}

// A HostAlias is a line of /etc/hosts.
type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames,omitempty"`
}

// A Container is a v1.Container, one of the pod's.
type Container struct {
	Name                     string                    `json:"name"`
	Image                    string                    `json:"image"`
	ImagePullPolicy          string                    `json:"imagePullPolicy,omitempty"` // Always, IfNotPresent, Never
	Command                  []string                  `json:"command,omitempty"`
	Args                     []string                  `json:"args,omitempty"`
	WorkingDir               string                    `json:"workingDir,omitempty"`
	Ports                    []ContainerPort           `json:"ports,omitempty"`
	EnvFrom                  []EnvFrom                 `json:"envFrom,omitempty"`
	Env                      []EnvVar                  `json:"env,omitempty"`
	Resources                Resources                 `json:"resources,omitzero"`
	RestartPolicy            *string                   `json:"restartPolicy,omitempty"` // of an init container: Always makes it a sidecar
	VolumeMounts             []VolumeMount             `json:"volumeMounts,omitempty"`
	LivenessProbe            *Probe                    `json:"livenessProbe,omitempty"`
	ReadinessProbe           *Probe                    `json:"readinessProbe,omitempty"`
	StartupProbe             *Probe                    `json:"startupProbe,omitempty"`
	Lifecycle                *Lifecycle                `json:"lifecycle,omitempty"`
	TerminationMessagePath   string                    `json:"terminationMessagePath,omitempty"`
	TerminationMessagePolicy string                    `json:"terminationMessagePolicy,omitempty"` // File, FallbackToLogsOnError
	SecurityContext          *ContainerSecurityContext `json:"securityContext,omitempty"`
	Stdin                    bool                      `json:"stdin,omitempty"`
	StdinOnce                bool                      `json:"stdinOnce,omitempty"`
	TTY                      bool                      `json:"tty,omitempty"`
}

// Sidecar tells whether an init container stays beside the others.
func (c *Container) Sidecar() bool { return c.RestartPolicy != nil && *c.RestartPolicy == "Always" }

// A ContainerPort is a v1.ContainerPort.
type ContainerPort struct {
	Name          string `json:"name,omitempty"`
	ContainerPort int32  `json:"containerPort"`
	HostPort      int32  `json:"hostPort,omitempty"`
	HostIP        string `json:"hostIP,omitempty"`
	Protocol      string `json:"protocol,omitempty"` // TCP, UDP
}

// EnvFrom takes a whole ConfigMap or Secret for variables.
type EnvFrom struct {
	Prefix       string     `json:"prefix,omitempty"`
	ConfigMapRef *ObjectRef `json:"configMapRef,omitempty"`
	SecretRef    *ObjectRef `json:"secretRef,omitempty"`
}

// An ObjectRef names an object of the pod's namespace.
type ObjectRef struct {
	Name     string `json:"name"`
	Optional *bool  `json:"optional,omitempty"`
}

// A KeyRef names a key of an object of the pod's namespace.
type KeyRef struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Optional *bool  `json:"optional,omitempty"`
}

// An EnvVar is a variable: a value, in which $(OTHER) stands for an earlier one, or where it comes from.
type EnvVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value,omitempty"`
	ValueFrom *EnvSource `json:"valueFrom,omitempty"`
}

// An EnvSource is where a variable's value comes from: one of them.
type EnvSource struct {
	FieldRef         *FieldRef    `json:"fieldRef,omitempty"`
	ResourceFieldRef *ResourceRef `json:"resourceFieldRef,omitempty"`
	ConfigMapKeyRef  *KeyRef      `json:"configMapKeyRef,omitempty"`
	SecretKeyRef     *KeyRef      `json:"secretKeyRef,omitempty"`
	FileKeyRef       *FileRef     `json:"fileKeyRef,omitempty"`
}

// A FieldRef names a field of the pod: metadata.name, status.podIP, …
type FieldRef struct {
	APIVersion string `json:"apiVersion,omitempty"`
	FieldPath  string `json:"fieldPath"`
}

// A ResourceRef names a limit or request of a container.
type ResourceRef struct {
	ContainerName string   `json:"containerName,omitempty"`
	Resource      string   `json:"resource"` // limits.cpu, requests.memory, …
	Divisor       Quantity `json:"divisor,omitempty"`
}

// Resources are what a container may use, and what it asks for: cpu, memory, ephemeral-storage.
type Resources struct {
	Limits   map[string]Quantity `json:"limits,omitempty"`
	Requests map[string]Quantity `json:"requests,omitempty"`
}

// A VolumeMount puts a volume of the pod's into a container.
type VolumeMount struct {
	Name             string  `json:"name"`
	MountPath        string  `json:"mountPath"`
	ReadOnly         bool    `json:"readOnly,omitempty"`
	SubPath          string  `json:"subPath,omitempty"`
	SubPathExpr      string  `json:"subPathExpr,omitempty"`
	MountPropagation *string `json:"mountPropagation,omitempty"` // None, HostToContainer, Bidirectional
}

// A Probe asks a container how it is.
type Probe struct {
	Handler
	InitialDelaySeconds           int32  `json:"initialDelaySeconds,omitempty"`
	TimeoutSeconds                int32  `json:"timeoutSeconds,omitempty"`
	PeriodSeconds                 int32  `json:"periodSeconds,omitempty"`
	SuccessThreshold              int32  `json:"successThreshold,omitempty"`
	FailureThreshold              int32  `json:"failureThreshold,omitempty"`
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// A Handler is one of the ways to do something to a container. Sleep is for hooks alone, GRPC for probes.
type Handler struct {
	Exec      *ExecAction `json:"exec,omitempty"`
	HTTPGet   *HTTPGet    `json:"httpGet,omitempty"`
	TCPSocket *TCPSocket  `json:"tcpSocket,omitempty"`
	GRPC      *GRPCAction `json:"grpc,omitempty"`
	Sleep     *Sleep      `json:"sleep,omitempty"`
}

// An ExecAction runs a command in the container; exit status 0 is success.
type ExecAction struct {
	Command []string `json:"command,omitempty"`
}

// HTTPGet asks for a path; a status from 200 to 399 is success.
type HTTPGet struct {
	Path    string   `json:"path,omitempty"`
	Port    Port     `json:"port"`
	Host    string   `json:"host,omitempty"`   // the pod's IP
	Scheme  string   `json:"scheme,omitempty"` // HTTP, HTTPS
	Headers []Header `json:"httpHeaders,omitempty"`
}

// A Header is one of a request's.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocket connects; that is success.
type TCPSocket struct {
	Port Port   `json:"port"`
	Host string `json:"host,omitempty"`
}

// GRPCAction asks grpc.health.v1.
type GRPCAction struct {
	Port    int32   `json:"port"`
	Service *string `json:"service,omitempty"`
}

// Sleep waits.
type Sleep struct {
	Seconds int64 `json:"seconds"`
}

// Lifecycle are a container's hooks.
type Lifecycle struct {
	PostStart  *Handler `json:"postStart,omitempty"`
	PreStop    *Handler `json:"preStop,omitempty"`
	StopSignal *string  `json:"stopSignal,omitempty"`
}

// PodSecurityContext is a v1.PodSecurityContext.
type PodSecurityContext struct {
	RunAsUser          *int64  `json:"runAsUser,omitempty"`
	RunAsGroup         *int64  `json:"runAsGroup,omitempty"`
	RunAsNonRoot       *bool   `json:"runAsNonRoot,omitempty"`
	SupplementalGroups []int64 `json:"supplementalGroups,omitempty"`

	SupplementalGroupsPolicy *string `json:"supplementalGroupsPolicy,omitempty"` // Merge, Strict

	FSGroup             *int64          `json:"fsGroup,omitempty"`
	FSGroupChangePolicy *string         `json:"fsGroupChangePolicy,omitempty"` // Always, OnRootMismatch
	Sysctls             []Sysctl        `json:"sysctls,omitempty"`
	SeccompProfile      *SeccompProfile `json:"seccompProfile,omitempty"`
}

// A Sysctl is a kernel parameter of the pod's namespaces.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A SeccompProfile is RuntimeDefault, Unconfined, or Localhost with a file.
type SeccompProfile struct {
	Type             string  `json:"type"`
	LocalhostProfile *string `json:"localhostProfile,omitempty"`
}

// ContainerSecurityContext is a v1.SecurityContext.
type ContainerSecurityContext struct {
	Capabilities             *Capabilities   `json:"capabilities,omitempty"`
	Privileged               *bool           `json:"privileged,omitempty"`
	RunAsUser                *int64          `json:"runAsUser,omitempty"`
	RunAsGroup               *int64          `json:"runAsGroup,omitempty"`
	RunAsNonRoot             *bool           `json:"runAsNonRoot,omitempty"`
	ReadOnlyRootFilesystem   *bool           `json:"readOnlyRootFilesystem,omitempty"`
	AllowPrivilegeEscalation *bool           `json:"allowPrivilegeEscalation,omitempty"`
	SeccompProfile           *SeccompProfile `json:"seccompProfile,omitempty"`
}

// Capabilities are added to and dropped from the default set.
type Capabilities struct {
	Add  []string `json:"add,omitempty"`
	Drop []string `json:"drop,omitempty"`
}

// A Volume is a folder of the pod's: one of its sources.
type Volume struct {
	Name                  string       `json:"name"`
	EmptyDir              *EmptyDir    `json:"emptyDir,omitempty"`
	HostPath              *HostPath    `json:"hostPath,omitempty"`
	ConfigMap             *Files       `json:"configMap,omitempty"`
	Secret                *Secret      `json:"secret,omitempty"`
	DownwardAPI           *Downward    `json:"downwardAPI,omitempty"`
	Projected             *Projected   `json:"projected,omitempty"`
	PersistentVolumeClaim *Claim       `json:"persistentVolumeClaim,omitempty"`
	Image                 *ImageVolume `json:"image,omitempty"`
}

// An EmptyDir begins empty and ends with the pod.
type EmptyDir struct {
	Medium    string    `json:"medium,omitempty"` // "", Memory
	SizeLimit *Quantity `json:"sizeLimit,omitempty"`
	Mode      *int32    `json:"mode,omitempty"` // 0777 where it is nil; with the sticky bit
}

// A HostPath is the host's.
type HostPath struct {
	Path string  `json:"path"`
	Type *string `json:"type,omitempty"` // "", Directory, DirectoryOrCreate, File, FileOrCreate, Socket, CharDevice, BlockDevice
}

// Files are a ConfigMap's keys as files.
type Files struct {
	Name        string   `json:"name"`
	Items       []ToPath `json:"items,omitempty"`
	DefaultMode *int32   `json:"defaultMode,omitempty"`
	Optional    *bool    `json:"optional,omitempty"`
}

// A ToPath is one key, and its file's path.
type ToPath struct {
	Key  string `json:"key"`
	Path string `json:"path"`
	Mode *int32 `json:"mode,omitempty"`
}

// A Secret is a Secret's keys as files, which never reach a disk.
type Secret struct {
	SecretName  string   `json:"secretName"`
	Items       []ToPath `json:"items,omitempty"`
	DefaultMode *int32   `json:"defaultMode,omitempty"`
	Optional    *bool    `json:"optional,omitempty"`
}

// Downward are fields of the pod as files.
type Downward struct {
	Items       []DownwardFile `json:"items,omitempty"`
	DefaultMode *int32         `json:"defaultMode,omitempty"`
}

// A DownwardFile is one field.
type DownwardFile struct {
	Path             string       `json:"path"`
	FieldRef         *FieldRef    `json:"fieldRef,omitempty"`
	ResourceFieldRef *ResourceRef `json:"resourceFieldRef,omitempty"`
	Mode             *int32       `json:"mode,omitempty"`
}

// Projected are several sources in one folder.
type Projected struct {
	Sources     []Projection `json:"sources,omitempty"`
	DefaultMode *int32       `json:"defaultMode,omitempty"`
}

// A Projection is one of them.
type Projection struct {
	ConfigMap   *Files           `json:"configMap,omitempty"`
	Secret      *ProjectedSecret `json:"secret,omitempty"`
	DownwardAPI *Downward        `json:"downwardAPI,omitempty"`
}

// A ProjectedSecret is a Secret by another name of its field.
type ProjectedSecret struct {
	Name     string   `json:"name"`
	Items    []ToPath `json:"items,omitempty"`
	Optional *bool    `json:"optional,omitempty"`
}

// A Claim is a PersistentVolumeClaim's volume.
type Claim struct {
	ClaimName string `json:"claimName"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

// A Port is a port's number, or the name of one of the container's.
type Port struct {
	Number int32
	Name   string
}

// UnmarshalJSON reads a number or a string, as Kubernetes' IntOrString.
func (p *Port) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &p.Name)
	}
	return json.Unmarshal(data, &p.Number)
}

// MarshalJSON is the reverse of UnmarshalJSON.
func (p Port) MarshalJSON() ([]byte, error) {
	if p.Name != "" {
		return json.Marshal(p.Name)
	}
	return json.Marshal(p.Number)
}

// Resolve returns the port's number among the container's ports.
func (p Port) Resolve(c *Container) (int32, error) {
	if p.Name == "" {
		return p.Number, nil
	}
	for _, known := range c.Ports {
		if known.Name == p.Name {
			return known.ContainerPort, nil
		}
	}
	if n, err := strconv.ParseUint(p.Name, 10, 16); err == nil && n > 0 {
		return int32(n), nil
	}
	return 0, fmt.Errorf("container %s has no port named %q", c.Name, p.Name)
}
