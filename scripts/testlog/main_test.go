package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	const list = "# a comment\np TestKnown no such feature here\n"
	for _, tt := range []struct {
		name, events, want string
		ok                 bool
	}{
		{
			"a pass shows the closing line alone", `
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`,
			"ok  \tp\t0.1s\ntests: 1 passed, 0 failed, 0 skipped\n", true,
		},
		{
			"a binary under test2json gets its closing lines, too", `
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":1.5}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Output":"FAIL\n"}
{"Action":"fail","Package":"q","Elapsed":2}`,
			"ok  \tp\t1.500s\nFAIL\tq\t2.000s\ntests: 1 passed, 1 failed, 0 skipped\n", false,
		},
		{
			"a test that failed counts, though its package's end got lost",
			`{"Action":"fail","Package":"p","Test":"TestA"}`,
			"tests: 0 passed, 1 failed, 0 skipped\n", false,
		},
		{
			"a failure shows its output", `
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			"    a_test.go:1: wrong\nFAIL\tp\t0.1s\ntests: 0 passed, 1 failed, 0 skipped\n", false,
		},
		{
			"a panic shows the test that it stopped", `
{"Action":"output","Package":"p","Test":"TestA","Output":"panic: boom\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}`,
			"FAIL\tp\t0.1s\npanic: boom\n", false,
		},
		{
			"a listed skip passes", `
{"Action":"skip","Package":"p","Test":"TestKnown"}
{"Action":"pass","Package":"p"}`,
			"ok  \tp\t0.000s\nskipped, as listed: p TestKnown\ntests: 0 passed, 0 failed, 1 skipped\n", true,
		},
		{
			"another skip fails", `
{"Action":"output","Package":"p","Test":"TestNew","Output":"    a_test.go:1: no overlay\n"}
{"Action":"skip","Package":"p","Test":"TestNew"}
{"Action":"pass","Package":"p"}`,
			"    a_test.go:1: no overlay\nok  \tp\t0.000s\nskipped, and not listed: p TestNew\ntests: 0 passed, 0 failed, 1 skipped\n", false,
		},
		{"a build failure fails", `{"ImportPath":"p","Action":"build-fail"}`, "", false},
		{"the go command's own words pass through", "go: no packages\n", "go: no packages\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			ok, err := replay(strings.NewReader(strings.TrimPrefix(tt.events, "\n")), &out, expected(list))
			if err != nil {
				t.Fatal(err)
			}
			if ok != tt.ok || out.String() != tt.want {
				t.Errorf("got %v, %q; want %v, %q", ok, out.String(), tt.ok, tt.want)
			}
		})
	}
}
