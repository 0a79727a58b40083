package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/run"
	"codeberg.org/minipod/minipod/config"
	"codeberg.org/minipod/minipod/doctor"
	"codeberg.org/minipod/minipod/events"
	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/internal/lang"
	"codeberg.org/minipod/minipod/internal/linux"
	"codeberg.org/minipod/minipod/labs"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/runtime/stage"
	"codeberg.org/minipod/minipod/state"
)

// A world is a lab's data folder, as the judge asks about it.
type world struct{ dirs state.Dirs }

func (k *course) world(lab *labs.Lab) world {
	root := k.home.World(lab.ID)
	return world{state.Dirs{Data: root, Run: filepath.Join(root, "run"), Config: k.dirs.Config}}
}

func (w world) Root() string { return w.dirs.Data }

func (w world) Container(name string) (labs.Container, error) {
	record, err := w.find(name)
	if errors.Is(err, runtime.ErrNotFound) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return labs.Container{
		ID: record.ID, Status: record.Status, Sandbox: labs.Process{PID: record.PID, Birth: record.Birth},
		Supervisor: labs.Process{PID: record.Supervisor, Birth: record.SupervisorBirth}, Published: publishedOf(record),
		Restarts: run.AttemptOf(record),
	}, err
}

func publishedOf(r runtime.Record) map[int]int {
	ports := map[int]int{}
	for _, p := range portsOf(r) {
		ports[int(p.ContainerPort)] = int(p.HostPort)
	}
	return ports
}

// running are the names of the containers that run here, but for those of pods.
func (w world) running() (names []string) {
	all, err := runtime.List(w.dirs)
	if err != nil {
		return nil
	}
	for _, r := range all {
		if r.Status == "running" && r.Labels["io.kubernetes.pod.name"] == "" {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// find finds a container by its name; one of a pod by its labels, the youngest of those that were made for it.
func (w world) find(name string) (runtime.Record, error) {
	of, isPod := strings.CutPrefix(name, "pod:")
	if !isPod {
		return runtime.Find(w.dirs, name)
	}
	pod, container, _ := strings.Cut(of, "/")
	all, err := runtime.List(w.dirs)
	if err != nil {
		return runtime.Record{}, err
	}
	var found runtime.Record
	for _, r := range all {
		if r.Labels["io.kubernetes.pod.name"] == pod && r.Labels["io.kubernetes.container.name"] == container && r.Created.After(found.Created) {
			found = r
		}
	}
	if found.ID == "" {
		return found, fmt.Errorf("%w: %s", runtime.ErrNotFound, name)
	}
	return found, nil
}

func (w world) Events() (list []labs.Event, err error) {
	options := events.ReadOptions{Since: time.Unix(1, 0), Until: time.Now()}
	err = events.Open(w.dirs).Read(context.Background(), options, func(e events.Event) error {
		list = append(list, labs.Event{Action: e.Action, Name: e.Actor.Attributes["name"], Attributes: e.Actor.Attributes})
		return nil
	})
	return list, err
}

// RootOf enters p's user and mount namespace, in a child of its own, and looks where that leads: to the root of the mount namespace, wherever p's is.
func (w world) RootOf(p labs.Process) (dev, inode uint64, err error) {
	var files [2]*os.File
	for i, kind := range [...]string{"user", "mnt"} {
		if files[i], err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", p.PID, kind)); err != nil {
			return 0, 0, err
		}
		defer files[i].Close()
	}
	return stage.RootOf(files[0], files[1])
}

// HostName enters p's user and UTS namespace, in a child of its own, and asks there.
func (w world) HostName(p labs.Process) (string, error) {
	ours, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		return "", err
	}
	if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/uts", p.PID)); err == nil && its == ours {
		return os.Hostname()
	}
	var files [2]*os.File
	for i, kind := range [...]string{"user", "uts"} {
		if files[i], err = os.Open(fmt.Sprintf("/proc/%d/ns/%s", p.PID, kind)); err != nil {
			return "", err
		}
		defer files[i].Close()
	}
	return stage.HostName(files[0], files[1])
}

// Queues enters p's user and ipc namespace, in a child of its own, and reads there.
func (w world) Queues(p labs.Process) (string, error) {
	var files [2]*os.File
	for i, kind := range [...]string{"user", "ipc"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", p.PID, kind))
		if err != nil {
			return "", err
		}
		defer file.Close()
		files[i] = file
	}
	return stage.Queues(files[0], files[1])
}

// OwnerOf asks the namespace itself.
func (w world) OwnerOf(p labs.Process, kind string) (inode uint64, err error) {
	inode, _, err = linux.NamespaceOwner(fmt.Sprintf("/proc/%d/ns/%s", p.PID, kind))
	return inode, err
}

// A machine is what doctor found out about it.
type machine struct {
	results  []doctor.Result
	language lang.Lang
}

// lacks are those of the requirements that this machine does not meet. Doctor takes a moment, so it is asked only where there are any.
func (k *course) lacks(ctx context.Context, requirements []string) []doctor.Result {
	if len(requirements) == 0 {
		return nil
	}
	return k.machine(ctx).lacks(requirements)
}

// machine asks doctor, but for what takes long and no lab needs: whether registries answer.
func (k *course) machine(ctx context.Context) machine {
	settings, err := config.Load(k.dirs)
	if err != nil {
		settings = &config.Config{}
	}
	env, err := doctor.Host(k.dirs, settings, k.probeStorage)
	if err != nil {
		return machine{[]doctor.Result{{Name: "userns", Status: doctor.Fail, Title: err.Error()}}, k.language}
	}
	env.Language = k.language
	env.Ping = func(context.Context, string, bool) error { return nil }
	return machine{doctor.Run(ctx, env), k.language}
}

// lacks are those of the requirements that this machine does not meet, with what would change that.
func (m machine) lacks(requirements []string) []doctor.Result {
	var lacks []doctor.Result
	for _, r := range requirements {
		if program, ok := strings.CutPrefix(r, "command:"); ok {
			if _, err := exec.LookPath(program); err != nil {
				lacks = append(lacks, doctor.Result{Name: r, Title: program, Status: doctor.Fail, Evidence: []string{err.Error()}, Fix: []string{m.language.Say("# install %s", program)}})
			}
			continue
		}
		i := slices.IndexFunc(m.results, func(result doctor.Result) bool { return result.Name == r })
		if i >= 0 && m.results[i].Status != doctor.OK {
			lacks = append(lacks, m.results[i])
		}
	}
	return lacks
}

// tellLacks says why something can't be done here, and what would change that.
func (k *course) tellLacks(lacks []doctor.Result) {
	for _, l := range lacks {
		fmt.Fprintln(k.err, k.style.Odd(k.say("This machine lacks: %s", l.Title)))
		for _, evidence := range l.Evidence {
			fmt.Fprintln(k.err, "    "+evidence)
		}
		for _, fix := range l.Fix {
			fmt.Fprintln(k.err, "    "+fix)
		}
	}
}

// minipod runs this program in another data folder, as the learner would.
func (k *course) minipod(root string, args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "MINIPOD_ROOT="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("minipod %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// labImage is what the labs call their image.
const labImage = "alpine"

// prepare puts the image aside, once it was unpacked in a folder of its own: what can't be loaded helps nobody in a classroom.
func (k *course) prepare(c *urfave.Context) error {
	if err := k.fetchImage(c.Args().First()); err != nil {
		return err
	}
	info, err := os.Stat(k.home.Image())
	if err != nil {
		return err
	}
	k.tell(k.say("The labs' image is in %s (%s). From now on they need no network.", k.home.Image(), humanSize(info.Size(), 3)))
	return nil
}

func (k *course) fetchImage(file string) (err error) {
	scratch := k.home.World("prepare")
	if err := errors.Join(k.removeTree(scratch), os.MkdirAll(scratch, 0o700)); err != nil {
		return fmt.Errorf("make a folder to prepare in: %w", err)
	}
	defer func() { err = errors.Join(err, k.removeTree(scratch)) }()
	if file == "" {
		source := os.Getenv("MINIPOD_LAB_IMAGE")
		if source == "" {
			source = labImage
		}
		if err := k.minipod(scratch, "pull", "-q", source); err != nil {
			return hint.Wrap(err, k.say("without a network: minipod lab prepare FILE, with an archive of Alpine or busybox (docker save alpine)"))
		}
		if source != labImage {
			if err := k.minipod(scratch, "tag", source, labImage); err != nil {
				return err
			}
		}
	} else if err := k.loadArchive(scratch, file); err != nil {
		return err
	}
	part := k.home.Image() + ".part"
	if err := k.minipod(scratch, "save", "-o", part, labImage); err != nil {
		return err
	}
	return os.Rename(part, k.home.Image())
}

// loadArchive loads an image, whatever its name is in there, and calls it as the labs do.
func (k *course) loadArchive(root, file string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "load", "-i", file)
	cmd.Env = append(os.Environ(), "MINIPOD_ROOT="+root)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) == 0 {
		why, _, _ := strings.Cut(strings.TrimPrefix(complaint.String(), "minipod: "), "\n")
		advice := k.say("name an archive that docker save, podman save or skopeo made, or the folder of an OCI layout, with its index.json")
		if below, _ := filepath.Glob(filepath.Join(file, "*", "index.json")); len(below) > 0 {
			advice = k.say("did you mean %s?", filepath.Dir(below[0]))
		}
		return refuse(k.say("prepare the image: %s", strings.TrimSpace(why)), advice)
	}
	return k.minipod(root, "tag", words[len(words)-1], labImage) // the name or the ID comes last
}

// makeWorld makes a lab's world, whole or not at all: the marker comes last.
func (k *course) makeWorld(lab *labs.Lab) error {
	w := k.world(lab)
	if _, err := os.Stat(filepath.Join(w.Root(), state.LabFile)); err == nil {
		return nil
	}
	if err := k.end(lab, nil); err != nil { // somebody was interrupted at this
		return err
	}
	if _, err := os.Stat(k.home.Image()); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(k.err, k.say("Getting the labs' image, once…"))
		if err := k.fetchImage(""); err != nil {
			return err
		}
	}
	for _, dir := range []string{w.Root(), filepath.Join(w.Root(), "files")} {
		if err := state.Make(dir); err != nil {
			return fmt.Errorf("make the lab's world: %w", err)
		}
	}
	if lab.Files != nil {
		if err := copyEmbedded(filepath.Join(w.Root(), "files"), lab.Files); err != nil {
			return fmt.Errorf("make the lab's world: %w", err)
		}
	}
	if err := k.minipod(w.Root(), "load", "-q", "-i", k.home.Image()); err != nil {
		return hint.Wrap(err, k.say("prepare the image again: minipod lab prepare"))
	}
	return state.WriteJSON(filepath.Join(w.Root(), state.LabFile), map[string]string{"lab": lab.ID})
}

// copyEmbedded copies what is embedded; scripts may be executed.
func copyEmbedded(dst string, from fs.FS) error {
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		target := filepath.Join(dst, filepath.FromSlash(name))
		if d.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		f, err := from.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o755
		}
		to, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, f)
		return errors.Join(err, to.Close())
	})
}

// end ends what runs in a lab's world, removes the folder, and proves that nothing is left. It works whatever state the world is in.
func (k *course) end(lab *labs.Lab, record *labs.LabRecord) error {
	root := k.home.World(lab.ID)
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) && record == nil {
		return nil
	}
	machine, self := os.DirFS("/"), os.Getpid()
	var bound []labs.Process
	if record != nil {
		for _, answer := range record.Answers {
			if answer.Process.PID != 0 {
				bound = append(bound, answer.Process)
			}
		}
	}
	before, err := labs.InhabitantsOf(machine, root, self, bound)
	if err != nil {
		return err
	}
	groups := labs.GroupsOf(machine, before, self)
	var complaints []error
	if all, err := runtime.List(k.world(lab).dirs); err == nil && len(all) > 0 {
		args := []string{"rm", "-f"}
		for _, r := range all {
			args = append(args, r.ID)
			if r.Cgroup != "" {
				groups = append(groups, r.Cgroup)
			}
		}
		complaints = append(complaints, k.minipod(root, args...)) // counts only if something is left below
	}
	for range 3 { // who is killed may have just forked
		rest, err := labs.InhabitantsOf(machine, root, self, bound)
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			break
		}
		if err := labs.End(machine, rest); err != nil {
			complaints = append(complaints, err)
		}
	}
	if err := k.removeTree(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		complaints = append(complaints, err)
	}
	outside, err := labs.RemoveAnswers(lab, record, os.Getuid())
	if err != nil {
		complaints = append(complaints, err)
	}
	var left []string
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) { // a group goes a moment after its last process, when systemd has noticed
		if left, err = labs.Remains(machine, root, self, groups); err != nil {
			return err
		}
		left = append(left, outside...)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			break
		}
	}
	err = errors.New(k.say("the world of lab %s is not empty: %s", lab.ID, strings.Join(left, ", ")))
	return hint.Wrap(errors.Join(append([]error{err}, complaints...)...), k.say("run it again: minipod lab reset %s", lab.ID))
}
