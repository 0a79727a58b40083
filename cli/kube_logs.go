package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/logs"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

// podLogFlags are kubectl's, beside docker's. -n is docker's --tail here; see logsAny.
func podLogFlags() []urfave.Flag {
	return []urfave.Flag{
		containerFlag("of a pod: this `CONTAINER` (default: the first)"),
		&urfave.StringFlag{Name: "namespace", Usage: "the pod's `NAMESPACE` (default: default); -n, too, if it is no number"},
		selectorFlag(),
		&urfave.BoolFlag{Name: "all-containers", Usage: "of a pod: all of its containers"},
		&urfave.BoolFlag{Name: "previous", Aliases: []string{"p"}, Usage: "of a pod: the container before its last restart"},
		&urfave.BoolFlag{Name: "prefix", Usage: "of a pod: put the names of pod and container before each line"},
		&urfave.StringFlag{Name: "since-time", Usage: "of a pod: print what was printed since a `TIME`"},
		&urfave.IntFlag{Name: "max-log-requests", Value: 5, Usage: "with -l and -f: follow at most so `MANY` containers"},
	}
}

// podOnlyLogFlags say that a pod is meant.
func podOnlyLogFlags() []string {
	return []string{"container", "namespace", "selector", "all-containers", "previous", "prefix", "since-time"}
}

// logsAny is docker's logs, or of a pod kubectl's.
func (a *app) logsAny(c *urfave.Context) error {
	namespace, tail := c.String("namespace"), c.String("tail")
	if _, err := strconv.Atoi(tail); err != nil && tail != "all" && namespace == "" { // -n kube-system: kubectl's meaning
		if _, err := runtime.Find(a.dirs, c.Args().First()); err != nil {
			namespace, tail = tail, "all"
		}
	}
	certain := namespace != ""
	for _, flag := range podOnlyLogFlags() {
		certain = certain || c.IsSet(flag)
	}
	maximum := 2
	if c.IsSet("selector") {
		maximum = 0
	}
	if certain {
		if err := checkArgs(c, min(1, maximum), maximum); err != nil {
			return err
		}
	}
	pods, err := a.logPods(c, namespace, certain)
	if err != nil {
		return err
	}
	if pods == nil {
		if err := checkArgs(c, 1, 1); err != nil {
			return err
		}
		return a.logs(c)
	}
	return a.podLogs(c, pods, tail)
}

// logPods are the pods whose logs are wanted; nil for docker's container.
func (a *app) logPods(c *urfave.Context, namespace string, certain bool) ([]*kubeObject, error) {
	if c.IsSet("selector") {
		a.revive()
		q, err := parseQuery(c)
		if err != nil {
			return nil, err
		}
		if q.namespace = namespace; namespace == "" {
			q.namespace = defaultNamespace
		}
		found, err := a.findObjects([]kubeKind{podKind()}, nil, q)
		if err == nil && len(found) == 0 {
			fmt.Fprintf(a.err, "No resources found in %s namespace.\n", q.namespace)
			found = []*kubeObject{}
		}
		return found, err
	}
	if c.NArg() == 0 {
		return nil, nil
	}
	o, err := a.podNamed(c.Args().First(), namespace, certain)
	if o == nil || err != nil {
		return nil, err
	}
	return []*kubeObject{o}, nil
}

// A podLog is the log of one container of a pod.
type podLog struct {
	file, prefix string
	folder       string // of the container, whose lock tells whether it lives
}

func (a *app) podLogs(c *urfave.Context, pods []*kubeObject, tail string) error {
	o := logs.ReadOptions{Follow: c.Bool("follow"), Timestamps: c.Bool("timestamps"), Tail: -1}
	var err error
	if o.Since, o.Until, err = between(c); err != nil {
		return err
	}
	if text := c.String("since-time"); text != "" {
		if o.Since, err = parseTime(text, time.Now()); err != nil {
			return fmt.Errorf("--since-time: %w", err)
		}
	}
	switch {
	case tail != "all":
		if o.Tail, err = strconv.Atoi(tail); err != nil {
			return badUsage(fmt.Errorf("invalid value %q for --tail", tail), "write a number of lines, or all")
		}
	case c.IsSet("selector"):
		o.Tail = 10 // kubectl's
	}
	var found []podLog
	for _, p := range pods {
		list, err := a.findPodLogs(p.pod, c)
		if err != nil {
			return err
		}
		found = append(found, list...)
	}
	if limit := c.Int("max-log-requests"); o.Follow && len(found) > limit && len(found) > 1 {
		return badUsage(fmt.Errorf("you are attempting to follow %d log streams, but maximum allowed concurrency is %d", len(found), limit), "use --max-log-requests to increase the limit")
	}
	return interrupted(c.Context, a.readPodLogs(c.Context, found, o))
}

// findPodLogs are the logs of the containers that the flags choose.
func (a *app) findPodLogs(p *print.Pod, c *urfave.Context) ([]podLog, error) {
	names := containerNames(p)
	if !c.Bool("all-containers") {
		name := c.String("container")
		if name == "" && c.NArg() == 2 {
			name = c.Args().Get(1) // kubectl's older form: logs POD CONTAINER
		}
		name, err := a.chooseContainer(p, name)
		if err != nil {
			return nil, err
		}
		names = []string{name}
	}
	var found []podLog
	for _, name := range names {
		id, err := logOf(p, name, c.Bool("previous"))
		if err == nil {
			r, e := a.recordOf(id)
			if err = e; err == nil {
				l := podLog{folder: filepath.Join(a.dirs.Containers(), r.ID)}
				l.file = filepath.Join(l.folder, logs.FileName)
				if c.Bool("prefix") {
					l.prefix = fmt.Sprintf("[pod/%s/%s] ", p.Metadata.Name, name)
				}
				found = append(found, l)
			}
		}
		if err != nil && (len(names) == 1 || c.Bool("follow")) { // of all, those that there are
			return nil, err
		}
	}
	return found, nil
}

// logOf is the id of the container whose log is meant: validateContainerLogStatus of the kubelet's, in its words. What ended without an id never came to
// print anything, since it could not be started.
func logOf(p *print.Pod, name string, previous bool) (string, error) {
	s := statusOf(p, name)
	if s == nil {
		s = &pod.ContainerStatus{}
	}
	last := s.LastState.Terminated
	if previous {
		if last == nil || last.ContainerID == "" {
			return "", hint.Wrap(serverError("BadRequest", "previous terminated container %q in pod %q not found", name, p.Metadata.Name), "leave out --previous: it has not been restarted")
		}
		return last.ContainerID, nil
	}
	ended := s.State.Terminated
	switch {
	case ended != nil && ended.ContainerID != "":
		return ended.ContainerID, nil
	case s.State.Running != nil, ended == nil && s.ContainerID != "" && (last == nil || last.ContainerID != ""):
		return s.ContainerID, nil
	case last != nil && last.ContainerID != "":
		return last.ContainerID, nil
	}
	if ended == nil {
		ended = last
	}
	why := "is waiting to start: " + pod.ContainerCreating
	switch waiting := s.State.Waiting; {
	case ended != nil:
		why = "is terminated"
		if ended.Message != "" { // no log has it
			why += ": " + ended.Message
		}
	case waiting == nil || waiting.Reason == "":
	case waiting.Reason == pod.ErrImagePull:
		why = "is waiting to start: image can't be pulled"
	case waiting.Reason == pod.ImagePullBackOff:
		why = "is waiting to start: trying and failing to pull image"
	default:
		why = "is waiting to start: " + waiting.Reason
	}
	return "", hint.Wrap(serverError("BadRequest", "container %q in pod %q %s", name, p.Metadata.Name, why), "see why: minipod describe pod "+p.Metadata.Name)
}

// readPodLogs prints logs one after the other, or with -f all at once, line by line.
func (a *app) readPodLogs(ctx context.Context, list []podLog, o logs.ReadOptions) error {
	read := func(l podLog, w io.Writer) error {
		if o.Follow {
			ended := make(chan struct{})
			o.Ended = ended
			go func() {
				defer close(ended)
				waitForEnd(l.folder)
			}()
		}
		return logs.Read(ctx, l.file, o, w, w)
	}
	if len(list) == 1 && list[0].prefix == "" {
		return read(list[0], a.out)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	failed := make([]error, len(list))
	for i, l := range list {
		lines := &lineWriter{w: a.out, mu: &mu, prefix: l.prefix}
		one := func() { failed[i] = errors.Join(read(l, lines), lines.flush()) }
		if o.Follow {
			all.Go(one)
		} else {
			one()
		}
	}
	all.Wait()
	return errors.Join(failed...)
}

// A lineWriter writes whole lines, with a prefix, among those of others.
type lineWriter struct {
	w      io.Writer
	mu     *sync.Mutex
	prefix string
	rest   []byte
}

// longestLine is how much of a line without an end is kept, in bytes.
const longestLine = 64 << 10

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 && len(l.rest) > longestLine {
		end = len(l.rest)
	}
	if err := l.write(l.rest[:end]); err != nil {
		return 0, err
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), nil
}

func (l *lineWriter) write(lines []byte) error {
	var text []byte
	for line := range bytes.Lines(lines) {
		text = append(append(text, l.prefix...), line...)
	}
	if len(text) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(text)
	return err
}

func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	return l.write(append(l.rest, '\n'))
}
