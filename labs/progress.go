package labs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"codeberg.org/minipod/minipod/internal/hint"
	"codeberg.org/minipod/minipod/state"
)

// Home is the folder that the labs keep everything in: $XDG_STATE_HOME/minipod/labs.
//
//	labs/
//	├─ progress.json     how far the learner is, by the labs' ids
//	├─ image.tar         the one image that all labs use, once `lab prepare` has it
//	└─ worlds/07/        a data folder, $MINIPOD_ROOT in that lab; lab.json in it says that it is one
type Home struct{ Dir string }

// FindHome names the folder; nothing is made. $MINIPOD_ROOT changes nothing here, since in a lab it names that lab's world.
func FindHome(getenv func(string) string) (Home, error) {
	if dir := state.LabsDir(getenv); dir != "" {
		return Home{dir}, nil
	}
	return Home{}, hint.Wrap(errors.New("find the labs' folder: neither $XDG_STATE_HOME nor $HOME is an absolute path"), "set HOME")
}

// World is the folder of a lab's world.
func (h Home) World(id string) string { return state.World(h.Dir, id) }

// Image is where the prepared image is.
func (h Home) Image() string { return filepath.Join(h.Dir, "image.tar") }

func (h Home) progressFile() string { return filepath.Join(h.Dir, "progress.json") }

// version of the progress file. A newer minipod's file is refused: to write it back would lose what we don't know.
const version = 1

// Progress is how far the learner is.
type Progress struct {
	Version int                   `json:"version"`
	Current string                `json:"current,omitempty"` // the lab that was started last
	Labs    map[string]*LabRecord `json:"labs"`
}

// A LabRecord is how far the learner is in one lab.
type LabRecord struct {
	Started time.Time              `json:"started,omitzero"`
	Done    time.Time              `json:"done,omitzero"` // when the last step was passed or skipped, the first time
	Steps   map[string]*StepRecord `json:"steps,omitempty"`
	Answers map[string]Answer      `json:"answers,omitempty"`
}

// A StepRecord is what became of a step.
type StepRecord struct {
	Passed   time.Time           `json:"passed,omitzero"`
	Skipped  bool                `json:"skipped,omitempty"`
	Hints    int                 `json:"hints,omitempty"`    // how far up the hints the learner has climbed
	Solution bool                `json:"solution,omitempty"` // it was shown
	Seen     []int               `json:"seen,omitempty"`     // of an edge step: the checks that were true once
	Roles    map[string]Snapshot `json:"roles,omitempty"`    // who played which role when it was passed
}

// An Answer is what the learner typed; of a PID also which process that was.
type Answer struct {
	Text    string  `json:"text"`
	Process Process `json:"process,omitzero"`
}

// ReadProgress reads how far the learner is. Labs that we don't know are kept: another version of minipod may.
func (h Home) ReadProgress() (*Progress, error) {
	p := &Progress{Version: version, Labs: map[string]*LabRecord{}}
	data, err := os.ReadFile(h.progressFile())
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress: %w", err)
	}
	aside := "move it aside to begin anew: mv " + h.progressFile() + " " + h.progressFile() + ".old"
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the progress in %s: %w", h.progressFile(), err), aside)
	}
	if head.Version > version {
		return nil, hint.Wrap(fmt.Errorf("the progress in %s is of version %d, and this minipod knows %d", h.progressFile(), head.Version, version),
			"use the newer minipod, or "+aside)
	}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, hint.Wrap(fmt.Errorf("read the progress in %s: %w", h.progressFile(), err), aside)
	}
	if p.Labs == nil {
		p.Labs = map[string]*LabRecord{}
	}
	for id, r := range p.Labs {
		if r == nil { // null
			delete(p.Labs, id)
		}
	}
	return p, nil
}

// Changed is when the progress was written last: cheap to ask again and again.
func (h Home) Changed() time.Time {
	info, err := os.Stat(h.progressFile())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Change reads the progress, has it changed, and writes it, one at a time.
func (h Home) Change(change func(*Progress) error) error {
	if err := state.Make(h.Dir); err != nil {
		return fmt.Errorf("make the labs' folder: %w", err)
	}
	lock, err := state.LockFile(filepath.Join(h.Dir, ".lock"))
	if err != nil {
		return fmt.Errorf("lock the progress: %w", err)
	}
	defer lock.Unlock()
	p, err := h.ReadProgress()
	if err != nil {
		return err
	}
	if err := change(p); err != nil {
		return err
	}
	if err := state.WriteJSON(h.progressFile(), p); err != nil {
		return fmt.Errorf("write the progress: %w", err)
	}
	return nil
}

// Lab is the record of a lab, made where there is none.
func (p *Progress) Lab(id string) *LabRecord {
	r := p.Labs[id]
	if r == nil {
		r = &LabRecord{}
		p.Labs[id] = r
	}
	if r.Steps == nil {
		r.Steps = map[string]*StepRecord{}
	}
	if r.Answers == nil {
		r.Answers = map[string]Answer{}
	}
	return r
}

// Step is the record of a step, made where there is none.
func (r *LabRecord) Step(id string) *StepRecord {
	if r.Steps[id] == nil {
		r.Steps[id] = &StepRecord{}
	}
	return r.Steps[id]
}

// Over tells whether a step was passed or skipped.
func (s *StepRecord) Over() bool { return s != nil && (s.Skipped || !s.Passed.IsZero()) }

// At is the index of the step that the learner is at; len(lab.Steps) where all are over.
func (r *LabRecord) At(lab *Lab) int {
	for i, s := range lab.Steps {
		if r == nil || !r.Steps[s.ID].Over() {
			return i
		}
	}
	return len(lab.Steps)
}

// Snapshots are those of all steps that were passed, for Judge.Passed.
func (r *LabRecord) Snapshots() map[string]map[string]Snapshot {
	passed := map[string]map[string]Snapshot{}
	for id, s := range r.Steps {
		if s != nil && s.Roles != nil {
			passed[id] = s.Roles
		}
	}
	return passed
}
