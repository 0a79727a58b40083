package cli

import (
	"encoding/json"
	"fmt"
	"sync"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/image"
)

// explainForm is the value of --explain: a switch that may have a value.
type explainForm string

func (f *explainForm) String() string   { return string(*f) }
func (f *explainForm) IsBoolFlag() bool { return true }

func (f *explainForm) Set(value string) error {
	switch value {
	case "true", "text":
		*f = "text"
	case "false", "":
		*f = ""
	case "json":
		*f = "json"
	default:
		return fmt.Errorf("--explain: unknown form %q: use text or json", value)
	}
	return nil
}

func explainFlag() urfave.Flag {
	return &urfave.GenericFlag{Name: "explain", Value: new(explainForm), Usage: "tell on stderr each step, the call, its result and why; with =`json`, as events"}
}

// A narration is one event of --explain=json.
type narration struct {
	Who    string `json:"who"`
	Step   string `json:"step"`
	Call   string `json:"call"`
	Result string `json:"result"`
	Why    string `json:"why"`
}

// explainer returns what narrates a pull on standard error, or nil.
func (a *app) explainer(c *urfave.Context) (image.Explain, error) {
	form, _ := c.Generic("explain").(*explainForm)
	if form == nil || *form == "" {
		return nil, nil // silence
	}
	var line sync.Mutex // layers are pulled side by side
	return func(step, call, result, why string) {
		line.Lock()
		defer line.Unlock()
		if *form == "json" {
			e := json.NewEncoder(a.err)
			e.SetEscapeHTML(false)
			_ = e.Encode(narration{"pull", step, call, result, why})
			return
		}
		fmt.Fprintf(a.err, "pull  %-10s %s = %s\n      %-10s %s\n", step, call, result, "", why)
	}, nil
}
