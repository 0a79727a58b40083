package manifest

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) probes(p *field.Path, ctr *v1.Container) {
	c.probe(p.Child("livenessProbe"), ctr.LivenessProbe, true)
	c.probe(p.Child("readinessProbe"), ctr.ReadinessProbe, false)
	c.probe(p.Child("startupProbe"), ctr.StartupProbe, true)
}

// probe checks one; those that kill need one success to be content, and may have a grace period.
func (c *checker) probe(p *field.Path, probe *v1.Probe, kills bool) {
	if probe == nil {
		return
	}
	c.handler(p, handler{exec: probe.Exec, get: probe.HTTPGet, tcp: probe.TCPSocket, grpc: probe.GRPC}, nil)
	c.nonNegative(p.Child("initialDelaySeconds"), int64(probe.InitialDelaySeconds))
	c.nonNegative(p.Child("timeoutSeconds"), int64(probe.TimeoutSeconds))
	c.nonNegative(p.Child("periodSeconds"), int64(probe.PeriodSeconds))
	c.nonNegative(p.Child("successThreshold"), int64(probe.SuccessThreshold))
	c.nonNegative(p.Child("failureThreshold"), int64(probe.FailureThreshold))
	grace := probe.TerminationGracePeriodSeconds
	if grace != nil && *grace <= 0 {
		c.invalid(p.Child("terminationGracePeriodSeconds"), *grace, "must be greater than 0")
	}
	if kills && probe.SuccessThreshold != 1 {
		c.invalid(p.Child("successThreshold"), probe.SuccessThreshold, "must be 1")
	}
	if !kills && grace != nil {
		c.invalid(p.Child("terminationGracePeriodSeconds"), *grace, "must not be set for readinessProbes")
	}
}

func (c *checker) lifecycle(p *field.Path, l *v1.Lifecycle, s *v1.PodSpec) {
	if l == nil {
		return
	}
	if h := l.PostStart; h != nil {
		c.handler(p.Child("postStart"), handler{exec: h.Exec, get: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, s.TerminationGracePeriodSeconds)
	}
	if h := l.PreStop; h != nil {
		c.handler(p.Child("preStop"), handler{exec: h.Exec, get: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, s.TerminationGracePeriodSeconds)
	}
	if l.StopSignal == nil {
		return
	}
	if s.OS == nil {
		c.forbidden(p.Child("stopSignal"), "may not be set for containers with empty `spec.os.name`")
	} else if s.OS.Name == v1.Linux {
		oneOf(c, p.Child("stopSignal"), *l.StopSignal, signals()...)
	}
}

// signals are those that Kubernetes has names for.
func signals() []v1.Signal {
	list := []v1.Signal{
		v1.SIGABRT, v1.SIGALRM, v1.SIGBUS, v1.SIGCHLD, v1.SIGCLD, v1.SIGCONT, v1.SIGFPE, v1.SIGHUP, v1.SIGILL, v1.SIGINT, v1.SIGIO, v1.SIGIOT, v1.SIGKILL,
		v1.SIGPIPE, v1.SIGPOLL, v1.SIGPROF, v1.SIGPWR, v1.SIGQUIT, v1.SIGRTMAX, v1.SIGRTMIN, v1.SIGSEGV, v1.SIGSTKFLT, v1.SIGSTOP, v1.SIGSYS, v1.SIGTERM,
		v1.SIGTRAP, v1.SIGTSTP, v1.SIGTTIN, v1.SIGTTOU, v1.SIGURG, v1.SIGUSR1, v1.SIGUSR2, v1.SIGVTALRM, v1.SIGWINCH, v1.SIGXCPU, v1.SIGXFSZ,
	}
	for i := 1; i <= 14; i++ {
		list = append(list, v1.Signal(fmt.Sprintf("SIGRTMAX-%d", i)))
	}
	for i := 1; i <= 15; i++ {
		list = append(list, v1.Signal(fmt.Sprintf("SIGRTMIN+%d", i)))
	}
	slices.Sort(list)
	return list
}

// A handler is a probe's or a hook's.
type handler struct {
	exec  *v1.ExecAction
	get   *v1.HTTPGetAction
	tcp   *v1.TCPSocketAction
	grpc  *v1.GRPCAction
	sleep *v1.SleepAction
}

// handler checks that there is one, and it.
func (c *checker) handler(p *field.Path, h handler, grace *int64) {
	found := 0
	one := func(name string, set bool, check func(p *field.Path)) {
		switch {
		case !set:
		case found > 0:
			c.forbidden(p.Child(name), "may not specify more than 1 handler type")
		default:
			found++
			check(p.Child(name))
		}
	}
	one("exec", h.exec != nil, func(p *field.Path) {
		if len(h.exec.Command) == 0 {
			c.required(p.Child("command"), "")
		}
	})
	one("httpGet", h.get != nil, func(p *field.Path) { c.httpGet(p, h.get) })
	one("tcpSocket", h.tcp != nil, func(p *field.Path) { c.portOrName(p.Child("port"), h.tcp.Port) })
	one("grpc", h.grpc != nil, func(p *field.Path) { c.portOrName(p.Child("port"), intstr.FromInt32(h.grpc.Port)) })
	one("sleep", h.sleep != nil, func(p *field.Path) {
		if grace != nil && (h.sleep.Seconds < 0 || h.sleep.Seconds > *grace) {
			c.invalid(p, h.sleep.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))
		}
	})
	if found == 0 {
		c.required(p, "must specify a handler type")
	}
}

func (c *checker) httpGet(p *field.Path, get *v1.HTTPGetAction) {
	c.portOrName(p.Child("port"), get.Port)
	oneOf(c, p.Child("scheme"), get.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS)
	for _, header := range get.HTTPHeaders {
		c.invalid(p.Child("httpHeaders"), header.Name, validation.IsHTTPHeaderName(header.Name)...)
	}
}
