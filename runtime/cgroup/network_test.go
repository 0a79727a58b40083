package cgroup

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/dbus"
)

// Scope names both processes, and JoinScope the unit itself.
func TestNetworkScope(t *testing.T) {
	started := reply{sig: "o", body: values(func(e *dbus.Encoder) { e.String(job) }), later: []dbus.Message{removed(job, "done")}}
	m := &manager{script: map[string][]reply{"StartTransientUnit": {started}, "AttachProcessesToUnit": {{}}}}
	socket := m.listen(t)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(t.TempDir(), "none"))
	if err := Scope(unit, "two", 70001, 70002); !errors.Is(err, ErrNoBus) {
		t.Errorf("nobody: %v", err)
	}
	o := &Options{Description: "two", PID: 70001, others: []int{70002}, Buses: []string{socket}}
	if err := o.startScope(unit); err != nil {
		t.Fatal(err)
	}
	pids := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 8), 70001), 70002) // an array, and its length
	if body := string(m.calls[0].Body); !strings.Contains(body, string(pids)) || !strings.Contains(body, unit) {
		t.Errorf("it was asked %q", body)
	}
	if err := attachByManager([]string{socket}, unit, "", 70003); err != nil {
		t.Error(err)
	}
}
