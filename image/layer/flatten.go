package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"codeberg.org/minipod/minipod/internal/linux"
)

// Flatten copies what overlayfs would show of lowers, the top layer first, into dst: for machines where neither
// overlayfs nor fuse-overlayfs can be mounted. dst exists and is empty. Whiteouts act and are not copied; hard links
// within a layer, owners, modes, times, holes and extended attributes are kept. An error leaves dst half filled, for
// the caller to remove.
//
// The layers are walked from the top, so no file is copied that a later one would hide.
func Flatten(ctx context.Context, dst string, lowers []string) error {
	to, err := openTree(dst, func(string) error { return nil })
	if err != nil {
		return fmt.Errorf("flatten layers: %w", err)
	}
	defer to.close()
	f := &flattener{to: to, hidden: map[string]bool{}}
	for _, lower := range lowers {
		if f.hidden["."] {
			break
		}
		if f.from, err = linux.OpenDir(lower); err != nil {
			return fmt.Errorf("flatten layers: %w", err)
		}
		f.links = map[inode]string{}
		err := f.folder(ctx, ".")
		f.from.Close()
		if err != nil {
			return fmt.Errorf("flatten layers: %w", err)
		}
	}
	if err := to.settle(ctx); err != nil {
		return fmt.Errorf("flatten layers: %w", err)
	}
	return nil
}

type flattener struct {
	to     *tree
	from   linux.File       // the layer that is being walked
	links  map[inode]string // its files with several names that are in dst already
	hidden map[string]bool  // what the layers walked so far hide of those to come
}

// folder merges the layer's folder name into the one of the same name in dst, and makes that where missing.
func (f *flattener) folder(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from, err := f.from.OpenBeneath(name)
	if err != nil {
		return err
	}
	folders, err := f.merge(from, name)
	from.Close() // before we go deeper: depth must not cost descriptors
	if err != nil {
		return err
	}
	for _, sub := range folders {
		if err := f.folder(ctx, path.Join(name, sub)); err != nil {
			return err
		}
	}
	return nil
}

// merge copies what is in the folder from, and answers the folders in it that remain to be merged.
func (f *flattener) merge(from linux.File, name string) (folders []string, err error) {
	nodes, hides, err := read(from)
	if err != nil {
		return nil, err
	}
	if hides {
		f.hidden[name] = true
	}
	to, err := f.to.dir(name)
	if err != nil {
		return nil, err
	}
	if _, ok := f.to.folders[name]; !ok { // the first layer to have it is the topmost
		st, err := from.Stat()
		if err != nil {
			return nil, err
		}
		if err := copyOwner(to.File, from, st); err != nil {
			return nil, err
		}
		f.to.folders[name] = attributes{st.Mode & linux.ModeBits, modified(st)}
	}
	for _, n := range nodes {
		full := path.Join(name, n.name)
		if f.hidden[full] {
			continue
		}
		above, err := to.Lstat(n.name)
		exists := err == nil
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case n.whiteout, exists && n.kind() != linux.S_IFDIR:
			f.hidden[full] = true
		case n.kind() == linux.S_IFDIR:
			if !exists || above.Mode&linux.S_IFMT == linux.S_IFDIR {
				folders = append(folders, n.name)
			}
		default:
			if err := f.copy(to, from, n, full); err != nil {
				return nil, err
			}
		}
	}
	return folders, nil
}

// copy copies a node that is not a folder.
func (f *flattener) copy(to folder, from linux.File, n node, full string) error {
	if n.Nlink > 1 {
		if first, ok := f.links[n.inode()]; ok {
			dir, err := f.to.lookup(path.Dir(first))
			if err != nil {
				return err
			}
			defer dir.Close()
			return to.Link(dir.File, path.Base(first), n.name)
		}
		f.links[n.inode()] = full
	}
	switch n.kind() {
	case linux.S_IFREG:
		return copyFile(to.File, from, n)
	case linux.S_IFLNK:
		target, err := from.Readlink(n.name)
		if err != nil {
			return err
		}
		if err := to.Symlink(target, n.name); err != nil {
			return err
		}
		if err := to.Lchown(n.name, int(n.Uid), int(n.Gid)); err != nil {
			return err
		}
	default:
		if err := to.Mknod(n.name, n.Mode, n.Rdev); err != nil {
			return err
		}
		if err := to.Lchown(n.name, int(n.Uid), int(n.Gid)); err != nil {
			return err
		}
		if err := to.ChmodNode(n.name, n.Mode&linux.ModeBits); err != nil {
			return err
		}
	}
	return to.SetTimesOf(n.name, modified(n.Stat))
}

func copyFile(to, from linux.File, n node) error {
	in, err := from.Open(n.name)
	if err != nil {
		return err
	}
	source := in.OSFile()
	defer source.Close()
	out, err := to.Create(n.name)
	if err != nil {
		return err
	}
	target := out.OSFile()
	defer target.Close()
	for offset := int64(0); offset < n.Size; {
		start, end, err := in.Data(offset, n.Size)
		if err != nil {
			return err
		}
		// CopyN between two os.Files is copy_file_range(2): a reflink where the file system can.
		if _, err := source.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := target.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(target, source, end-start); err != nil {
			return fmt.Errorf("copy %s: %w", in.Name, err)
		}
		offset = end
	}
	if err := out.Truncate(n.Size); err != nil { // the hole at the end
		return err
	}
	if err := copyOwner(out, in, n.Stat); err != nil {
		return err
	}
	if err := out.Chmod(n.Mode & linux.ModeBits); err != nil {
		return err
	}
	return out.SetTimes(modified(n.Stat))
}

// copyOwner copies the owner that st tells and then the extended attributes, of which chown(2) would drop one.
func copyOwner(to, from linux.File, st linux.Stat) error {
	if err := to.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	kept, err := xattrs(from)
	if err != nil {
		return err
	}
	for key, value := range kept {
		if err := to.SetXattr(key, []byte(value)); err != nil && !errors.Is(err, linux.ENOTSUP) {
			return err
		}
	}
	return nil
}

func modified(st linux.Stat) time.Time { return time.Unix(st.Mtim.Unix()) }
