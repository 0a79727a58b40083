// Package volume keeps named volumes: folders that outlive the containers that mount them.
//
//	volumes/
//	├─ .lock             held while a volume appears or disappears
//	├─ .new-… .dead-…    a volume on its way in or out; no reader looks at them, the next writer removes them
//	└─ NAME/
//	   ├─ volume.json    name, labels, when it was made
//	   ├─ lock           held while the volume is filled
//	   ├─ _data/         what containers mount
//	   ├─ _copy/         a fill that is being copied
//	   └─ _ready/        a fill that is copied whole and is moving into _data
//
// A volume appears and disappears by one rename, so a kill -9 leaves a whole volume or none.
//
// # Filling
//
// Docker fills an empty volume with what the image has at the mount point, owner and mode of the folder included,
// when a container first mounts it. A copy takes time, and a process that dies in the middle must leave neither a
// half-filled volume that the next container takes for complete, nor, in repairing that, remove a byte that some
// container wrote. So Fill never decides by a flag, only by what is there:
//
//	_data empty, no _ready   copy the image's folder to _copy         died here: _copy is thrown away, start again
//	_copy complete           rename _copy to _ready                   the point of no return
//	_ready exists            move its entries into _data, one by one  died here: the next Fill moves the rest
//	                         owner and mode of _ready to _data, remove _ready
//	_data not empty          nothing to do, ever again
//
// _data itself is never replaced: a running container may have it mounted.
//
// The package runs before main in `minipod run`, so it links nothing heavy. Files in _data may belong to ids that
// only the user's namespace maps: Fill must therefore run inside it, and Remove and Prune are told how to get in there
// (Store.RemoveTree).
package volume
