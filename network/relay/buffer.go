package relay

import (
	"sync"
	"syscall"

	"codeberg.org/minipod/minipod/internal/linux"
)

// BufferSize is that of the buffers that Read passes: more than the longest datagram, and a good piece of a stream.
const BufferSize = 256 << 10

// buffers are shared by all sockets, which hold one only while there is something in it.
var buffers = sync.Pool{New: func() any { b := make([]byte, BufferSize); return &b }}

func take() *[]byte  { return buffers.Get().(*[]byte) }
func give(b *[]byte) { buffers.Put(b) }

// Read waits for conn to have something to read, and passes up to limit bytes of it to use. n is 0 at the end of a stream. Unlike conn.Read, it
// needs a buffer only while use runs.
func Read(conn syscall.RawConn, limit int, use func(data []byte)) (n int, err error) {
	buf, n, err := linux.ReadReady(conn, limit, take, give)
	if err != nil {
		return 0, err
	}
	defer give(buf)
	use((*buf)[:n])
	return n, nil
}
