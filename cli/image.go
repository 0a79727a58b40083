package cli

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image/reference"
	"codeberg.org/minipod/minipod/image/store"
	"codeberg.org/minipod/minipod/logs"
)

// imageVerbs are those of `minipod image`; most have an older name at the top, too.
func (a *app) imageVerbs() []*urfave.Command {
	return append([]*urfave.Command{a.pullVerb(), a.listVerb(), a.imageInspectVerb()},
		append(a.removeVerbs(), a.archiveVerbs()...)...)
}

func (a *app) listVerb() *urfave.Command {
	return &urfave.Command{
		Name: "ls", Aliases: []string{"list"}, Usage: "List images", ArgsUsage: "[REPOSITORY[:TAG]]",
		Description: examples("minipod images", "minipod images --filter dangling=true -q", "minipod images 'registry.lan/*'",
			"minipod images --format 'table {{.Repository}}\\t{{.Size}}'", "minipod images -o json"),
		Flags: append(outputFlags(), quietFlag("print ids only"),
			&urfave.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "accepted for docker's sake: there are no intermediate images to hide"},
			&urfave.BoolFlag{Name: "digests", Usage: "show what registries know the images by"},
			&urfave.BoolFlag{Name: "no-trunc", Usage: "do not shorten ids"},
			&urfave.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "keep what matches a `CONDITION`: " +
				"reference=PATTERN, dangling=true|false, label=KEY[=VALUE], before=IMAGE, since=IMAGE or until=TIME"},
		),
		Action: a.imageList,
	}
}

// imageRow has docker's names for the columns of `images`.
type imageRow struct {
	ID, Repository, Tag, Digest, CreatedSince, CreatedAt, Size, Platform string
	Containers, SharedSize, UniqueSize, VirtualSize                      string
}

func (a *app) imageList(c *urfave.Context) error {
	if err := checkArgs(c, 0, 1); err != nil {
		return err
	}
	images, err := store.Open(a.dirs)
	if err != nil {
		return err
	}
	match, err := imageFilter(c, images, "reference", "dangling", "label", "label!", "before", "since", "until")
	if err != nil {
		return err
	}
	all, err := images.List()
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(x, y *store.Image) int { return y.Created.Compare(x.Created) })
	l := listing[imageRow]{
		header: imageRow{
			ID: "IMAGE ID", Repository: "REPOSITORY", Tag: "TAG", Digest: "DIGEST", CreatedSince: "CREATED", CreatedAt: "CREATED AT",
			Size: "SIZE", Platform: "PLATFORM", Containers: "CONTAINERS", SharedSize: "SHARED SIZE", UniqueSize: "UNIQUE SIZE", VirtualSize: "SIZE",
		},
		table: `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`,
		wide:  `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Platform}}\t{{.Digest}}`,
		name:  func(r imageRow) string { return r.ID },
	}
	if c.Bool("digests") {
		l.table = `{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`
	}
	records := []imageRecord{}
	for _, img := range all {
		names, matches := match(img, c.Args().First())
		if !matches {
			continue
		}
		record, err := newImageRecord(images, img)
		if err != nil {
			return err
		}
		records = append(records, record)
		rows := imageRows(img, record, names, time.Now(), c.Bool("no-trunc"))
		if c.Bool("quiet") {
			rows = rows[:1] // an id once, however many names it has
		}
		l.rows = append(l.rows, rows...)
	}
	l.records = records
	return l.print(a.out, c)
}

// imageRows is a row a name; an image without one gets a row of <none>.
func imageRows(img *store.Image, record imageRecord, names []reference.Reference, now time.Time, whole bool) []imageRow {
	row := imageRow{
		ID: shortID(record.ID), Repository: "<none>", Tag: "<none>", Digest: "<none>", Platform: record.platform(),
		CreatedSince: humanSince(now, img.Created), CreatedAt: "N/A",
		Size: humanSize(record.Size, 3), VirtualSize: humanSize(record.Size, 3), SharedSize: "N/A", UniqueSize: "N/A", Containers: "N/A",
	}
	if whole {
		row.ID = record.ID
	}
	if !img.Created.IsZero() { // reproducible builds leave it out
		row.CreatedAt = img.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
	}
	if len(names) == 0 {
		return []imageRow{row}
	}
	var rows []imageRow
	for _, name := range names {
		named := row
		named.Repository, named.Tag = familiarRepository(name), cmp.Or(name.Tag, "<none>")
		for _, known := range record.RepoDigests {
			if repository, digest, _ := strings.Cut(known, "@"); repository == named.Repository {
				named.Digest = digest
			}
		}
		rows = append(rows, named)
	}
	return rows
}

// familiarRepository is docker's short name without the tag: "alpine", "registry.lan:5000/team/app".
func familiarRepository(r reference.Reference) string {
	name := r.Familiar()
	name, _, _ = strings.Cut(name, "@")
	if r.Tag != "" {
		name = strings.TrimSuffix(name, ":"+r.Tag)
	}
	return name
}

// familiar is a whole name as people know it.
func familiar(name string) string {
	r, err := reference.Parse(name)
	if err != nil {
		return name // not ours to judge: somebody else wrote the index
	}
	return r.Familiar()
}

// A matcher tells whether an image is to be shown, and which of its names are.
type matcher func(img *store.Image, pattern string) ([]reference.Reference, bool)

// imageFilter turns --filter into a matcher.
func imageFilter(c *urfave.Context, images *store.Store, known ...string) (matcher, error) {
	f, err := parseFilters(c, known...)
	if err != nil {
		return nil, err
	}
	dangling, err := f.boolean(c, "dangling")
	if err != nil {
		return nil, err
	}
	oldest, newest, err := createdBetween(c, f, images, time.Now())
	if err != nil {
		return nil, err
	}
	return func(img *store.Image, pattern string) ([]reference.Reference, bool) {
		if dangling != nil && *dangling != img.Dangling() || !f.labels(img.Config.Config.Labels) ||
			!oldest.IsZero() && !img.Created.After(oldest) || !newest.IsZero() && !img.Created.Before(newest) {
			return nil, false
		}
		var names []reference.Reference
		for _, name := range img.Names {
			r, err := reference.Parse(name)
			if err == nil && (pattern == "" || matches(pattern, r)) &&
				f.anyOf("reference", func(pattern string) bool { return matches(pattern, r) }) {
				names = append(names, r)
			}
		}
		return names, len(names) > 0 || img.Dangling() && pattern == "" && len(f["reference"]) == 0
	}, nil
}

// matches compares as docker's reference filter does: by shell pattern, against the familiar name with and without its
// tag; and, beyond docker, against the whole name.
func matches(pattern string, r reference.Reference) bool {
	for _, name := range []string{r.Familiar(), familiarRepository(r), r.String()} {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return true
		}
	}
	return false
}

// createdBetween reads before=, since= and until= as bounds, both exclusive, of an image's creation.
func createdBetween(c *urfave.Context, f filters, images *store.Store, now time.Time) (oldest, newest time.Time, err error) {
	earlier := func(t time.Time) {
		if newest.IsZero() || t.Before(newest) {
			newest = t
		}
	}
	for _, name := range f["before"] {
		img, err := images.Resolve(name)
		if err != nil {
			return oldest, newest, err
		}
		earlier(img.Created)
	}
	for _, name := range f["since"] {
		img, err := images.Resolve(name)
		if err != nil {
			return oldest, newest, err
		}
		if img.Created.After(oldest) {
			oldest = img.Created
		}
	}
	for _, text := range f["until"] {
		t, err := parseTime(text, now)
		if err != nil {
			return oldest, newest, err
		}
		earlier(t)
	}
	return oldest, newest, nil
}

// parseTime reads a moment as docker does: "24h" (ago), RFC 3339 whole or cut short, or seconds since 1970.
func parseTime(text string, now time.Time) (time.Time, error) {
	return logs.ParseTime(text, now, time.Local)
}

// imageNames are for completion.
func (a *app) imageNames() []string {
	images, err := store.Open(a.dirs)
	if err != nil {
		return nil
	}
	all, err := images.List()
	if err != nil {
		return nil
	}
	var names []string
	for _, img := range all {
		for _, name := range img.Names {
			names = append(names, familiar(name))
		}
	}
	return names
}
