package cli

import (
	"strings"

	"codeberg.org/minipod/minipod/labs"
)

// verdictLines are the verdicts for a person: a mark, the check, what was read and what was wanted; under the first that fails, what that means: where this
// machine is able to do the step at all.
func (k *course) verdictLines(lab *labs.Lab, step *labs.Step, verdicts []labs.Verdict, able bool) []string {
	var lines []string
	told, missing := !able, ""
	for _, v := range verdicts {
		mark := map[labs.Status]string{labs.Pass: k.style.Good("✓"), labs.Fail: k.style.Bad("✗"), labs.Unknown: k.style.Odd("?")}[v.Status]
		for i, line := range k.style.Wrap("  ", v.Says) {
			if i == 0 {
				line = mark + line[1:]
			}
			lines = append(lines, line)
		}
		evidence := v.Evidence
		if v.Lacks != nil && missing == v.Lacks.Who { // it was cited
			evidence = nil
		}
		if v.Lacks != nil {
			missing = v.Lacks.Who
		}
		for _, e := range evidence {
			text := k.evidencePath(lab, e.Path) + k.say(": ") + shortened(e.Got)
			if e.Want != "" && v.Status != labs.Pass {
				text += k.say("; expected: %s", e.Want)
			}
			for _, line := range k.style.Wrap("    ", text) {
				lines = append(lines, k.style.Dim(line))
			}
		}
		text := lab.Texts[k.language].Section(step.ID).Parts["hint: "+v.Hint]
		if v.Lacks != nil {
			text = k.lacking(lab, step, v.Lacks)
		}
		if v.Status == labs.Pass || told || text == "" {
			continue
		}
		told = true
		for _, line := range linesOf(k.style.Narrower(4).Markdown(text)) {
			lines = append(lines, "  "+k.style.Odd("│")+" "+line)
		}
	}
	if len(verdicts) < len(step.Checks) {
		lines = append(lines, "  "+k.style.Dim(k.say("The rest is judged once you have answered.")))
	}
	return lines
}

// evidencePath is a path for a person: of a container's id the first twelve digits are enough, and what is in the world is called so.
func (k *course) evidencePath(lab *labs.Lab, path string) string {
	if path == "lab answer" {
		return k.say("your answer")
	}
	if below, ok := strings.CutPrefix(path, k.home.World(lab.ID)+"/"); ok {
		path = "$MINIPOD_ROOT/" + below
	}
	return shortened(path)
}

// shortened has of a container's id in a path the first twelve digits, and what a shell reads as the rest.
func shortened(text string) string {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		if len(part) == 64 && strings.Trim(part, "0123456789abcdef") == "" {
			parts[i] = part[:12] + "*"
		}
	}
	return strings.Join(parts, "/")
}

// lacking says what is not there to be judged, and what is instead: a name that was mistyped shows.
func (k *course) lacking(lab *labs.Lab, step *labs.Step, lack *labs.Lack) string {
	switch {
	case lack.Command != "":
		return k.say("`%s` runs another command than `%s`, which the commands of this lab look for. Remove it (`minipod rm -f %s`), and start it with the command of the text.", lack.Who, lack.Command, lack.Who)
	case lack.Answer && lack.Status != "":
		return k.say("The process that you named has ended. Start it again, and answer with its new PID.")
	case lack.Answer && step.Ask == nil:
		return k.say("Nobody was named yet: `minipod lab answer %s=PID`.", lack.Who)
	case lack.Answer:
		return k.say("You have not answered yet. First type the commands of the text, then `minipod lab answer …`.")
	}
	pod, container, isPod := strings.Cut(strings.TrimPrefix(lack.Who, "pod:"), "/")
	isPod = isPod && strings.HasPrefix(lack.Who, "pod:")
	switch {
	case lack.Status == labs.Changing:
		return k.say("The container is starting or ending: that takes a moment.")
	case isPod && lack.Status != "":
		return k.say("Container `%s` of Pod `%s` does not run. It may take a moment; `minipod get pods` and `minipod describe pod %s` tell more.", container, pod, pod)
	case isPod:
		return k.say("There is no Pod `%s` with a container `%s` in this lab's world. Type the commands of the text first; if you did, it may take a moment. Is `MINIPOD_ROOT` exported in the terminal where you typed?", pod, container)
	case lack.Status != "":
		return k.say("The container `%s` is there, and does not run. `minipod logs %s` may tell why. Start it again (`minipod start %s`); if it is not what the text asks for, `minipod rm -f %s` and the command of the text.", lack.Who, lack.Who, lack.Who, lack.Who)
	}
	if names := k.world(lab).running(); len(names) > 0 { // so it was this world that was typed in
		return k.say("There is no running container `%s` in this lab's world; running here: %s. Type the commands of the text for it first.", lack.Who, "`"+strings.Join(names, "`"+k.say(", ")+"`")+"`")
	}
	return k.say("There is no running container `%s` in this lab's world. Type the commands of the text first. Is `MINIPOD_ROOT` exported in the terminal where you typed?", lack.Who)
}
