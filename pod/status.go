package pod

import "time"

// The phases of a pod.
const (
	Pending   = "Pending"   // not all of its containers have been started
	Running   = "Running"   // all have been, and one at least runs, starts or starts again
	Succeeded = "Succeeded" // all ended well, and none starts again
	Failed    = "Failed"    // all ended, one of them badly, and none starts again
	Unknown   = "Unknown"   // nobody supervises it any more
)

// The classes of a pod's quality of service.
const (
	Guaranteed = "Guaranteed"
	Burstable  = "Burstable"
	BestEffort = "BestEffort"
)

// The conditions of a pod, in the order in which they come true.
const (
	PodScheduled            = "PodScheduled"
	ReadyToStartContainers  = "PodReadyToStartContainers" // the sandbox runs and has its network
	Initialized             = "Initialized"               // the init containers have done their work
	ContainersReady         = "ContainersReady"
	Ready                   = "Ready"
	ConditionTrue           = "True"
	ConditionFalse          = "False"
	ReasonContainersUnready = "ContainersNotReady"
)

// Reasons why a container waits or has ended, as the kubelet gives them.
const (
	ContainerCreating          = "ContainerCreating"
	PodInitializing            = "PodInitializing"
	ErrImagePull               = "ErrImagePull"
	ImagePullBackOff           = "ImagePullBackOff"
	ErrImageNeverPull          = "ErrImageNeverPull"
	InvalidImageName           = "InvalidImageName"
	CreateContainerConfigError = "CreateContainerConfigError"
	CreateContainerError       = "CreateContainerError"
	RunContainerError          = "RunContainerError"
	CrashLoopBackOff           = "CrashLoopBackOff"
	Completed                  = "Completed"
	Error                      = "Error"
	OOMKilled                  = "OOMKilled"
	ContainerStatusUnknown     = "ContainerStatusUnknown" // nobody saw its end
	DeadlineExceeded           = "DeadlineExceeded"       // of a pod: activeDeadlineSeconds
	Evicted                    = "Evicted"                // of a pod: an emptyDir has outgrown its sizeLimit
	SchedulingGated            = "SchedulingGated"        // of the condition PodScheduled
)

// A Status is what there is: a v1.PodStatus.
type Status struct {
	Phase                 string            `json:"phase"`
	Conditions            []Condition       `json:"conditions,omitempty"`
	Message               string            `json:"message,omitempty"`
	Reason                string            `json:"reason,omitempty"`
	HostIP                string            `json:"hostIP,omitempty"`
	HostIPs               []IP              `json:"hostIPs,omitempty"`
	PodIP                 string            `json:"podIP,omitempty"`
	PodIPs                []IP              `json:"podIPs,omitempty"`
	StartTime             time.Time         `json:"startTime,omitzero"`
	InitContainerStatuses []ContainerStatus `json:"initContainerStatuses,omitempty"`
	ContainerStatuses     []ContainerStatus `json:"containerStatuses,omitempty"`
	QOSClass              string            `json:"qosClass,omitempty"` // Guaranteed, Burstable, BestEffort
	ObservedGeneration    int64             `json:"observedGeneration,omitempty"`
}

// An IP is one of an address family.
type IP struct {
	IP string `json:"ip"`
}

// A Condition is one aspect of a pod, and since when it is so.
type Condition struct {
	Type       string    `json:"type"`
	Status     string    `json:"status"` // True, False, Unknown
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	Transition time.Time `json:"lastTransitionTime,omitzero"`
}

// A ContainerStatus is a v1.ContainerStatus.
type ContainerStatus struct {
	Name         string         `json:"name"`
	State        ContainerState `json:"state,omitzero"`
	LastState    ContainerState `json:"lastState,omitzero"`
	Ready        bool           `json:"ready"`
	RestartCount int32          `json:"restartCount"`
	Image        string         `json:"image"`
	ImageID      string         `json:"imageID"`
	ContainerID  string         `json:"containerID,omitempty"` // minipod://ID
	Started      *bool          `json:"started,omitempty"`
}

// A ContainerState is one of three.
type ContainerState struct {
	Waiting    *Waiting      `json:"waiting,omitempty"`
	Running    *RunningSince `json:"running,omitempty"`
	Terminated *Terminated   `json:"terminated,omitempty"`
}

// Waiting says why a container does not run yet.
type Waiting struct {
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// RunningSince says since when.
type RunningSince struct {
	StartedAt time.Time `json:"startedAt,omitzero"`
}

// Terminated says how a container ended.
type Terminated struct {
	ExitCode    int32     `json:"exitCode"`
	Signal      int32     `json:"signal,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Message     string    `json:"message,omitempty"` // what it left at terminationMessagePath
	StartedAt   time.Time `json:"startedAt,omitzero"`
	FinishedAt  time.Time `json:"finishedAt,omitzero"`
	ContainerID string    `json:"containerID,omitempty"`
}
