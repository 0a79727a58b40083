package cgroup

import "testing"

func TestUnitWeight(t *testing.T) {
	for _, tt := range []struct {
		file, value, property string
		want                  uint64
	}{
		{"cpu.weight", "59", "CPUWeight", 59},
		{"io.weight", "10000", "IOWeight", 10000},
		{"io.bfq.weight", "50", "IOWeight", 50},
		{"io.bfq.weight", "1000", "IOWeight", 10000},
	} {
		if property, value, ok := unitWeight(Write{File: tt.file, Value: tt.value}); property != tt.property || value != tt.want || !ok {
			t.Errorf("%s %s is %s=%d, %t; want %s=%d", tt.file, tt.value, property, value, ok, tt.property, tt.want)
		}
	}
	for _, w := range []Write{{File: "io.weight", Value: "8:0 100"}, {File: "memory.max", Value: "100"}} {
		if property, value, ok := unitWeight(w); ok {
			t.Errorf("%v is %s=%d", w, property, value)
		}
	}
}
