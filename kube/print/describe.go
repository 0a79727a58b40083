package print

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"codeberg.org/minipod/minipod/pod"
)

// A description is kubectl's: lines of a name, a tab and a value, indented by two blanks a level, with the values below each other.
type description struct {
	text *strings.Builder
	tabs *tabwriter.Writer
	zone *time.Location
}

func newDescription() *description {
	text := &strings.Builder{}
	return &description{text, tabwriter.NewWriter(text, 0, 8, 2, ' ', 0), time.UTC}
}

func (d *description) line(level int, format string, values ...any) {
	for i, v := range values { // what an image or a program said is no command to the terminal
		if text, ok := v.(string); ok {
			values[i] = visible(text)
		}
	}
	fmt.Fprintf(d.tabs, strings.Repeat("  ", level)+format+"\n", values...)
}

func (d *description) String() string {
	d.tabs.Flush()
	return d.text.String()
}

// DescribePod is `describe pod`, with what happened to it.
func DescribePod(p *Pod, node string, events []Event, now time.Time) string {
	d, s := newDescription(), &p.Status
	d.zone = now.Location()
	d.line(0, "Name:\t%s", p.Metadata.Name)
	d.line(0, "Namespace:\t%s", p.Metadata.Namespace)
	where := "<none>"
	if node = p.On(node); node != "" {
		where = node + "/" + s.HostIP
	}
	d.line(0, "Node:\t%s", where)
	if !s.StartTime.IsZero() {
		d.line(0, "Start Time:\t%s", d.time(s.StartTime))
	}
	d.labels("Labels", p.Metadata.Labels)
	d.annotations(p.Metadata.Annotations)
	if deleted := p.Metadata.Deleted; deleted != nil && s.Phase != pod.Succeeded && s.Phase != pod.Failed {
		d.line(0, "Status:\tTerminating (lasts %s)", Age(now, *deleted))
		if p.Metadata.Grace != nil {
			d.line(0, "Termination Grace Period:\t%ds", *p.Metadata.Grace)
		}
	} else {
		d.line(0, "Status:\t%s", s.Phase)
	}
	d.optional(0, "Reason", s.Reason)
	d.optional(0, "Message", s.Message)
	if p.Spec.SecurityContext != nil {
		d.seccomp(0, p.Spec.SecurityContext.SeccompProfile)
	}
	d.line(0, "IP:\t%s", s.PodIP)
	if len(s.PodIPs) == 0 {
		d.line(0, "IPs:\t<none>")
	} else {
		d.line(0, "IPs:")
	}
	for _, ip := range s.PodIPs {
		d.line(1, "IP:\t%s", ip.IP)
	}
	if p.Spec.Resources != nil {
		d.line(0, "Resources:")
		d.resources(1, *p.Spec.Resources)
	}
	if len(p.Spec.InitContainers) > 0 {
		d.containers("Init Containers", p, p.Spec.InitContainers, s.InitContainerStatuses)
	}
	d.containers("Containers", p, p.Spec.Containers, s.ContainerStatuses)
	if len(s.Conditions) > 0 {
		d.line(0, "Conditions:\n  Type\tStatus")
		for _, c := range s.Conditions {
			d.line(1, "%s \t%s ", c.Type, c.Status)
		}
	}
	d.volumes(p.Spec.Volumes)
	d.line(0, "QoS Class:\t%s", s.QOSClass)
	d.line(0, "Node-Selectors:\t<none>")
	d.line(0, "Tolerations:\t<none>")
	d.events(events, now)
	return d.String()
}

func (d *description) time(t time.Time) string { return t.In(d.zone).Format(time.RFC1123Z) }

func (d *description) optional(level int, name, value string) {
	if value != "" {
		d.line(level, name+":\t%s", value)
	}
}

func (d *description) labels(name string, labels map[string]string) {
	if len(labels) == 0 {
		d.line(0, name+":\t<none>")
		return
	}
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		if i == 0 {
			d.line(0, name+":\t%s=%s", key, labels[key])
		} else {
			d.line(0, "\t%s=%s", key, labels[key])
		}
	}
}

// longest is how much of an annotation is shown on one line.
const longest = 140

func (d *description) annotations(annotations map[string]string) {
	const lastApplied = "kubectl.kubernetes.io/last-applied-configuration" // which kubectl hides, too
	shown := slices.DeleteFunc(slices.Sorted(maps.Keys(annotations)), func(key string) bool { return key == lastApplied })
	if len(shown) == 0 {
		d.line(0, "Annotations:\t<none>")
	}
	name := "Annotations:"
	for _, key := range shown {
		value := strings.TrimSuffix(annotations[key], "\n")
		if len(value)+len(key) < longest && !strings.Contains(value, "\n") {
			d.line(0, name+"\t%s: %s", key, value)
		} else {
			d.line(0, name+"\t%s:", key)
			for line := range strings.SplitSeq(value, "\n") {
				d.line(0, "\t  %s", shorten(line))
			}
		}
		name = ""
	}
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "..."
	}
	return text
}

func (d *description) seccomp(level int, profile *pod.SeccompProfile) {
	if profile == nil {
		return
	}
	d.line(level, "SeccompProfile:\t%s", profile.Type)
	if profile.LocalhostProfile != nil {
		d.line(level+level/2, "LocalhostProfile:\t%s", *profile.LocalhostProfile)
	}
}

func (d *description) containers(title string, p *Pod, containers []pod.Container, statuses []pod.ContainerStatus) {
	d.line(0, "%s:", title)
	for i := range containers {
		c := &containers[i]
		var status *pod.ContainerStatus
		if at := slices.IndexFunc(statuses, func(s pod.ContainerStatus) bool { return s.Name == c.Name }); at >= 0 {
			status = &statuses[at]
		}
		d.line(1, "%s:", c.Name)
		if status != nil {
			d.line(2, "Container ID:\t%s", status.ContainerID)
		}
		d.line(2, "Image:\t%s", c.Image)
		if status != nil {
			d.line(2, "Image ID:\t%s", status.ImageID)
		}
		d.ports("Port", c.Ports, func(p pod.ContainerPort) int32 { return p.ContainerPort })
		d.ports("Host Port", c.Ports, func(p pod.ContainerPort) int32 { return p.HostPort })
		if c.SecurityContext != nil {
			d.seccomp(2, c.SecurityContext.SeccompProfile)
		}
		d.words("Command", c.Command)
		d.words("Args", c.Args)
		if status != nil {
			d.state("State", status.State)
			if status.LastState.Terminated != nil {
				d.state("Last State", status.LastState)
			}
			d.line(2, "Ready:\t%s", truth(status.Ready))
			d.line(2, "Restart Count:\t%d", status.RestartCount)
		}
		d.resources(2, c.Resources)
		d.probe("Liveness", c.LivenessProbe)
		d.probe("Readiness", c.ReadinessProbe)
		d.probe("Startup", c.StartupProbe)
		d.environment(p, c)
		d.mounts(c.VolumeMounts)
	}
}

// truth is yes or no as kubectl spells it.
func truth(yes bool) string {
	if yes {
		return "True"
	}
	return "False"
}

func (d *description) ports(name string, ports []pod.ContainerPort, number func(pod.ContainerPort) int32) {
	var shown []string
	for _, p := range ports {
		text := fmt.Sprintf("%d/%s", number(p), cmp.Or(p.Protocol, "TCP"))
		if p.Name != "" {
			text += " (" + p.Name + ")"
		}
		shown = append(shown, text)
	}
	if len(shown) > 1 {
		name += "s"
	}
	d.line(2, name+":\t%s", cmp.Or(strings.Join(shown, ", "), "<none>"))
}

func (d *description) words(name string, words []string) {
	if len(words) == 0 {
		return
	}
	d.line(2, name+":")
	for _, word := range words {
		for line := range strings.SplitSeq(word, "\n") {
			d.line(3, "%s", line)
		}
	}
}

func (d *description) state(name string, s pod.ContainerState) {
	switch {
	case s.Running != nil:
		d.line(2, name+":\tRunning")
		d.line(3, "Started:\t%s", d.time(s.Running.StartedAt))
	case s.Terminated != nil:
		d.line(2, name+":\tTerminated")
		d.optional(3, "Reason", s.Terminated.Reason)
		d.optional(3, "Message", s.Terminated.Message)
		d.line(3, "Exit Code:\t%d", s.Terminated.ExitCode)
		if s.Terminated.Signal > 0 {
			d.line(3, "Signal:\t%d", s.Terminated.Signal)
		}
		d.line(3, "Started:\t%s", d.time(s.Terminated.StartedAt))
		d.line(3, "Finished:\t%s", d.time(s.Terminated.FinishedAt))
	default:
		d.line(2, name+":\tWaiting")
		if s.Waiting != nil {
			d.optional(3, "Reason", s.Waiting.Reason)
		}
	}
}

func (d *description) resources(level int, r pod.Resources) {
	for _, part := range []struct {
		title string
		list  map[string]pod.Quantity
	}{{"Limits", r.Limits}, {"Requests", r.Requests}} {
		if len(part.list) > 0 {
			d.line(level, part.title+":")
		}
		for _, name := range slices.Sorted(maps.Keys(part.list)) {
			d.line(level+1, "%s:\t%s", name, string(part.list[name]))
		}
	}
}

func (d *description) probe(name string, p *pod.Probe) {
	if p == nil {
		return
	}
	how := "unknown"
	switch {
	case p.Exec != nil:
		how = fmt.Sprintf("exec %v", p.Exec.Command)
	case p.HTTPGet != nil:
		u := url.URL{Scheme: strings.ToLower(cmp.Or(p.HTTPGet.Scheme, "HTTP")), Host: net.JoinHostPort(p.HTTPGet.Host, portText(p.HTTPGet.Port)), Path: p.HTTPGet.Path}
		how = "http-get " + u.String()
	case p.TCPSocket != nil:
		how = fmt.Sprintf("tcp-socket %s:%s", p.TCPSocket.Host, portText(p.TCPSocket.Port))
	case p.GRPC != nil:
		how = fmt.Sprintf("grpc <pod>:%d %s", p.GRPC.Port, deref(p.GRPC.Service))
	}
	d.line(2, name+":\t%s delay=%ds timeout=%ds period=%ds #success=%d #failure=%d", how,
		p.InitialDelaySeconds, p.TimeoutSeconds, p.PeriodSeconds, p.SuccessThreshold, p.FailureThreshold)
}

func portText(p pod.Port) string { return cmp.Or(p.Name, strconv.Itoa(int(p.Number))) }
