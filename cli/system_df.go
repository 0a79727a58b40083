package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/volume"
)

// A dfRow is a line of `system df`, with docker's names for the columns.
type dfRow struct{ Type, TotalCount, Active, Size, Reclaimable string }

// A tally adds up one kind of thing.
type tally struct {
	total, active   int
	size, reclaimed int64 // the second is what would be freed
}

func (t *tally) add(size int64, active bool) {
	t.total++
	t.size += size
	if active {
		t.active++
	} else {
		t.reclaimed += size
	}
}

func (t *tally) row(kind string) dfRow {
	reclaimable := humanSize(t.reclaimed, 4)
	if t.size > 0 {
		reclaimable += fmt.Sprintf(" (%d%%)", t.reclaimed*100/t.size)
	}
	return dfRow{kind, strconv.Itoa(t.total), strconv.Itoa(t.active), humanSize(t.size, 4), reclaimable}
}

func (a *app) systemDf(c *urfave.Context) error {
	if err := checkArgs(c, 0, 0); err != nil {
		return err
	}
	if c.Bool("verbose") && (c.String("format") != "" || c.String("output") != "") {
		return usageError(c, "--verbose goes with neither --format nor --output")
	}
	u, err := a.measure()
	if err != nil {
		return err
	}
	if c.Bool("verbose") {
		return u.printVerbose(a.out, time.Now())
	}
	images, containers, volumes := u.tallies()
	l := listing[dfRow]{
		header: dfRow{"TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"},
		table:  `{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`,
		wide:   `{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`,
		// Nothing is built here, but scripts count docker's lines.
		rows: []dfRow{images.row("Images"), containers.row("Containers"), volumes.row("Local Volumes"), (&tally{}).row("Build Cache")},
		name: func(r dfRow) string { return r.Type },
	}
	l.records = l.rows
	return l.print(a.out, c)
}

// A usage is what lies on disk.
type usage struct {
	images     []imageUsage
	containers []containerUsage
	volumes    []volumeUsage
}

type imageUsage struct {
	*store.Image
	record imageRecord
	parts  map[digest.Digest]int64 // its blobs and unpacked layers, by digest and DiffID, and their sizes
	users  int
}

type containerUsage struct {
	runtime.Record
	size int64
}

type volumeUsage struct {
	*volume.Volume
	size  int64
	links int
}

// measure looks at everything. It works inside the user's id range, where all files can be seen.
func (a *app) measure() (*usage, error) {
	u := &usage{}
	containers, err := runtime.List(a.dirs)
	if err != nil {
		return nil, err
	}
	users, links := map[string]int{}, map[string]int{}
	for _, r := range containers {
		users[r.ImageID]++
		for _, name := range r.Volumes {
			links[name]++
		}
		u.containers = append(u.containers, containerUsage{r, a.containerSize(r)})
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return nil, err
	}
	all, err := images.List()
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		used, err := measureImage(images, img)
		if err != nil {
			return nil, err
		}
		used.users = users[string(img.ID)]
		u.images = append(u.images, used)
	}
	volumes, err := a.volumes().List()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		u.volumes = append(u.volumes, volumeUsage{v, volume.Size(v.Mountpoint), links[v.Name]})
	}
	return u, nil
}

func measureImage(images *store.Store, img *store.Image) (imageUsage, error) {
	record, err := newImageRecord(images, img)
	used := imageUsage{Image: img, record: record, parts: map[digest.Digest]int64{}}
	rest := img.Size // of the manifest and the config, which are its own
	for _, desc := range img.LayerDescs {
		rest -= desc.Size
		if images.HasBlob(desc.Digest) {
			used.parts[desc.Digest] = desc.Size
		}
	}
	used.parts[img.Manifest.Digest] += rest
	for _, diffID := range img.Layers {
		if layer, err := images.LayerRecord(diffID); err == nil {
			// The key is another than that of a blob which is not compressed, and so has the same digest.
			used.parts["unpacked:"+diffID] = layer.Summary.Bytes
		}
	}
	return used, err
}

// tallies adds everything up. What two images share counts once, and is in use if one of them is.
func (u *usage) tallies() (images, containers, volumes tally) {
	parts, active := map[digest.Digest]int64{}, map[digest.Digest]bool{}
	for _, img := range u.images {
		images.total++
		if img.users > 0 {
			images.active++
		}
		for part, size := range img.parts {
			parts[part] = size
			active[part] = active[part] || img.users > 0
		}
	}
	for part, size := range parts {
		images.size += size
		if !active[part] {
			images.reclaimed += size
		}
	}
	for _, c := range u.containers {
		containers.add(c.size, c.Status == runtime.StatusRunning)
	}
	for _, v := range u.volumes {
		volumes.add(v.size, v.links > 0)
	}
	return images, containers, volumes
}

// printVerbose prints docker's three tables.
func (u *usage) printVerbose(w io.Writer, now time.Time) error {
	images := listing[imageRow]{header: imageRow{
		Repository: "REPOSITORY", Tag: "TAG", ID: "IMAGE ID", CreatedSince: "CREATED", Size: "SIZE",
		SharedSize: "SHARED SIZE", UniqueSize: "UNIQUE SIZE", Containers: "CONTAINERS",
	}, rows: u.imageRows(now)}
	fmt.Fprint(w, "Images space usage:\n\n")
	if err := images.format(w, `table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}`); err != nil {
		return err
	}
	containers := listing[dfDetail]{header: dfDetail{
		ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", Links: "LOCAL VOLUMES", Size: "SIZE", Created: "CREATED", Status: "STATUS", Name: "NAMES",
	}}
	for _, c := range u.containers {
		r := rowOf(c.Record, false)
		containers.rows = append(containers.rows, dfDetail{r.ID, r.Image, r.Command, strconv.Itoa(len(c.Volumes)), humanSize(c.size, 3), r.RunningFor, r.Status, r.Names})
	}
	fmt.Fprint(w, "\nContainers space usage:\n\n")
	if err := containers.format(w, `table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.Links}}\t{{.Size}}\t{{.Created}}\t{{.Status}}\t{{.Name}}`); err != nil {
		return err
	}
	volumes := listing[dfDetail]{header: dfDetail{Name: "VOLUME NAME", Links: "LINKS", Size: "SIZE"}}
	for _, v := range u.volumes {
		volumes.rows = append(volumes.rows, dfDetail{Name: v.Name, Links: strconv.Itoa(v.links), Size: humanSize(v.size, 3)})
	}
	fmt.Fprint(w, "\nLocal Volumes space usage:\n\n")
	if err := volumes.format(w, `table {{.Name}}\t{{.Links}}\t{{.Size}}`); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, "\nBuild cache usage: 0B\n")
	return err
}

// A dfDetail is a line of the tables of containers and of volumes.
type dfDetail struct{ ID, Image, Command, Links, Size, Created, Status, Name string }

func (u *usage) imageRows(now time.Time) (rows []imageRow) {
	holders := map[digest.Digest]int{}
	for _, img := range u.images {
		for part := range img.parts {
			holders[part]++
		}
	}
	for _, img := range u.images {
		var shared, unique int64
		for part, size := range img.parts {
			if holders[part] > 1 {
				shared += size
			} else {
				unique += size
			}
		}
		var names []reference.Reference
		for _, name := range img.Names {
			if r, err := reference.Parse(name); err == nil {
				names = append(names, r)
			}
		}
		for _, row := range imageRows(img.Image, img.record, names, now, false) {
			row.Size, row.SharedSize, row.UniqueSize = humanSize(shared+unique, 3), humanSize(shared, 3), humanSize(unique, 3)
			row.Containers = strconv.Itoa(img.users)
			rows = append(rows, row)
		}
	}
	return rows
}
