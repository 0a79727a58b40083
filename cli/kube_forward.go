package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/kube/print"
	"codeberg.org/minipod/minipod/node"
	"codeberg.org/minipod/minipod/pod"
	"codeberg.org/minipod/minipod/runtime"
)

func (a *app) portForwardVerb() *urfave.Command {
	return &urfave.Command{
		Name: "port-forward", Usage: "Forward local ports to a pod", ArgsUsage: "POD [LOCAL:]REMOTE...", Category: groupPods,
		Description: "Whoever connects to a local port talks to the pod's port, as if from inside of it. Without LOCAL it has the same number;\n" +
			"with an empty one, :80, a free number. It goes on until Ctrl-C.\n\n" +
			examples("minipod port-forward web 8080:80", "minipod port-forward pod/web :http"),
		Flags: []urfave.Flag{
			namespaceFlag(),
			&urfave.StringSliceFlag{Name: "address", Value: urfave.NewStringSlice("localhost"), Usage: "listen at these `ADDRESSES`, comma-separated", DefaultText: "localhost"},
		},
		Action: a.aboutPods(a.portForward),
	}
}

// A forwarding is one port: local is 0 for any free one.
type forwarding struct{ local, remote uint16 }

// parseForwarding reads [LOCAL:]REMOTE; REMOTE may be the name of a port of the pod.
func parseForwarding(text string, p *print.Pod) (f forwarding, err error) {
	local, remote, both := strings.Cut(text, ":")
	if !both {
		remote = local
	}
	if f.remote, err = remotePort(remote, p); err != nil {
		return f, err
	}
	switch {
	case !both:
		f.local = f.remote
	case local != "":
		n, err := strconv.ParseUint(local, 10, 16)
		if err != nil {
			return f, badUsage(fmt.Errorf("error parsing local port '%s': it must be a number from 0 to 65535", local), "write 8080:80")
		}
		f.local = uint16(n)
	}
	return f, nil
}

func remotePort(text string, p *print.Pod) (uint16, error) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
		return uint16(n), nil
	}
	for _, list := range [][]pod.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			for _, port := range list[i].Ports {
				if text != "" && port.Name == text {
					return uint16(port.ContainerPort), nil
				}
			}
		}
	}
	return 0, badUsage(fmt.Errorf("pod '%s' does not have a named port '%s'", p.Metadata.Name, text), "write a number from 1 to 65535, or a port's name")
}

func (a *app) portForward(c *urfave.Context) error {
	if err := checkArgs(c, 2, -1); err != nil {
		return err
	}
	name, _ := podByName(c.Args().First())
	o, err := a.findObject(target{podKind(), name}, c.String("namespace"))
	if err != nil {
		return err
	}
	if o.pod.Status.Phase != pod.Running {
		return hint.Wrap(fmt.Errorf("unable to forward port because pod is not running. Current status=%s", o.pod.Status.Phase), "wait for it: minipod wait --for=condition=Ready pod/"+name)
	}
	var wanted []forwarding
	for _, arg := range c.Args().Tail() {
		f, err := parseForwarding(arg, o.pod)
		if err != nil {
			return err
		}
		wanted = append(wanted, f)
	}
	var addresses []string
	for _, text := range c.StringSlice("address") {
		addresses = append(addresses, strings.Split(text, ",")...)
	}
	forwarder := &forwarder{a: a, pod: o.pod}
	for _, f := range wanted {
		if err := forwarder.listen(addresses, f); err != nil {
			return errors.Join(err, forwarder.close())
		}
	}
	return interrupted(c.Context, forwarder.serve(c.Context))
}

// A forwarder hands connections on.
type forwarder struct {
	a         *app
	pod       *print.Pod
	listeners []forwardListener
}

type forwardListener struct {
	net.Listener

	forwarding
}

// listen opens a port at each address. localhost is both loopbacks, of which one is enough.
func (f *forwarder) listen(addresses []string, want forwarding) error {
	for _, address := range addresses {
		hosts, needed := []string{address}, true
		if address == "localhost" {
			hosts, needed = []string{"127.0.0.1", "::1"}, false
		}
		var failed error
		opened := 0
		for _, host := range hosts {
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(want.local))))
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			opened++
			bound, _ := l.Addr().(*net.TCPAddr)
			if want.local == 0 { // the second loopback has the number of the first
				want.local = uint16(bound.Port)
			}
			f.listeners = append(f.listeners, forwardListener{l, want})
			fmt.Fprintf(f.a.out, "Forwarding from %s -> %d\n", l.Addr(), want.remote)
		}
		if opened == 0 || needed && failed != nil {
			advice := "choose another one: minipod port-forward " + f.pod.Metadata.Name + " :" + strconv.Itoa(int(want.remote))
			return hint.Wrap(fmt.Errorf("unable to listen on port %d: %w", want.local, failed), advice)
		}
	}
	return nil
}

func (f *forwarder) close() error {
	var err error
	for _, l := range f.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// serve accepts until ctx ends or the pod is gone.
func (f *forwarder) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var accepting sync.WaitGroup
	for _, l := range f.listeners {
		accepting.Go(func() {
			for {
				local, err := l.Accept()
				if err != nil {
					cancel(err)
					return
				}
				fmt.Fprintf(f.a.out, "Handling connection for %d\n", l.local)
				go f.handle(local, l.remote)
			}
		})
	}
	err := pod.Wait(ctx, f.a.dirs, f.pod.Metadata.UID, func(_ *pod.Stored, s *pod.Status) (bool, error) {
		return false, lostPod(f.pod, s)
	})
	err = errors.Join(err, f.close())
	accepting.Wait()
	if errors.Is(err, pod.ErrNotFound) {
		err = lostPod(f.pod, nil)
	}
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// lostPod is the error about a pod that ended meanwhile.
func lostPod(p *print.Pod, s *pod.Status) error {
	if s != nil && s.Phase != pod.Succeeded && s.Phase != pod.Failed {
		return nil
	}
	return hint.Wrap(errors.New("lost connection to pod"), "see what became of it: minipod get pod "+p.Metadata.Name)
}

// handle joins a local connection with a new one inside the pod. One that can't be made is no reason to end.
func (f *forwarder) handle(local net.Conn, port uint16) {
	defer local.Close()
	remote, err := f.dial(port)
	if err != nil {
		f.a.warn(fmt.Errorf("an error occurred forwarding %d: %w", port, err))
		return
	}
	defer remote.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{local, remote}, {remote, local}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // either side may go; that ends the connection and nothing else
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}

// dial connects from inside of the pod. The sandbox is looked for each time: it may have been rebuilt, and the node, too.
func (f *forwarder) dial(port uint16) (net.Conn, error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	if f.pod.Spec.HostNetwork {
		return net.Dial("tcp", address)
	}
	sandbox, err := f.a.sandboxOf(f.pod)
	if err != nil {
		return nil, err
	}
	n, err := node.Open(f.a.dirs)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	socket, err := n.Dial(sandbox.ID, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer socket.Close() // FileConn has its own
	return connOf(socket)
}

func connOf(socket *os.File) (net.Conn, error) {
	if err := linux.SetNonblock(int(socket.Fd())); err != nil {
		return nil, err
	}
	return net.FileConn(socket)
}

// Labels of a pod's containers, as the kubelet's runtimes have them.
const (
	labelContainer = "io.kubernetes.container.name"
	labelPodUID    = "io.kubernetes.pod.uid"
	sandboxName    = "POD"
)

// sandboxOf finds the running sandbox of a pod.
func (a *app) sandboxOf(p *print.Pod) (runtime.Record, error) {
	all, err := runtime.List(a.dirs)
	if err != nil {
		return runtime.Record{}, err
	}
	i := slices.IndexFunc(all, func(r runtime.Record) bool {
		return r.Status == runtime.StatusRunning && r.Labels[labelPodUID] == p.Metadata.UID && r.Labels[labelContainer] == sandboxName
	})
	if i < 0 {
		return runtime.Record{}, hint.Wrap(fmt.Errorf("pod %s has no running sandbox", p.Metadata.Name), "see how it is: minipod describe pod "+p.Metadata.Name)
	}
	return all[i], nil
}
