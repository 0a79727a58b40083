package pod

import (
	"encoding/json"
	"math"
	"testing"
)

func TestQuantity(t *testing.T) {
	for text, want := range map[string][2]int64{
		`"500m"`: {1, 500}, `"64Mi"`: {64 << 20, 64 << 20 * 1000}, `2`: {2, 2000}, `1.5`: {2, 1500}, `"1.5Gi"`: {3 << 29, 3 << 29 * 1000},
		`"2k"`: {2000, 2000000}, `"1e3"`: {1000, 1000000}, `"0"`: {0, 0}, `"100u"`: {1, 1}, `"1Ei"`: {1 << 60, math.MaxInt64}, `"9E"`: {9e18, math.MaxInt64},
		`"-1"`: {-1, -1000}, `"0.1"`: {1, 100},
	} {
		var q Quantity
		if err := json.Unmarshal([]byte(text), &q); err != nil || q.Value() != want[0] || q.MilliValue() != want[1] {
			t.Errorf("%s is %d and %d thousandths, %v; want %v", text, q.Value(), q.MilliValue(), err, want)
		}
	}
	for _, text := range []string{`""`, `"x"`, `"1Q"`, `"1 Mi"`, `"1e999999999"`, `"0x10"`, `"1/2"`, `"Mi"`, `"--1"`, `true`, `"1_000"`} {
		var q Quantity
		if err := json.Unmarshal([]byte(text), &q); err == nil {
			t.Errorf("%s was taken for %d", text, q.Value())
		}
	}
}

func TestPort(t *testing.T) {
	c := &Container{Name: "c", Ports: []ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for text, want := range map[string]int32{`80`: 80, `"web"`: 8080, `"81"`: 81, `"none"`: 0} {
		var p Port
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Resolve(c); got != want || (err != nil) != (want == 0) {
			t.Errorf("%s is port %d, %v; want %d", text, got, err, want)
		}
		if back, err := json.Marshal(p); err != nil || string(back) != text {
			t.Errorf("%s came back as %s, %v", text, back, err)
		}
	}
}
