package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"codeberg.org/minipod/minipod/cli/flags"
	"codeberg.org/minipod/minipod/runtime"
	"codeberg.org/minipod/minipod/state"
	"codeberg.org/minipod/minipod/volume"
)

// completeVerb is what the shells' scripts call with the words typed so far: one candidate a line comes back. The
// scripts know nothing themselves, so they never lag behind the verbs, and images and volumes complete, too.
const completeVerb = "__complete"

func (a *app) completionVerb() *urfave.Command {
	return &urfave.Command{
		Name: "completion", Usage: "Print a script that completes minipod's words in a shell", ArgsUsage: "bash|zsh|fish",
		Category: groupMachine,
		Description: examples(
			"minipod completion bash > ~/.local/share/bash-completion/completions/minipod",
			"minipod completion zsh > ~/.zfunc/_minipod      with fpath+=~/.zfunc before compinit in ~/.zshrc",
			"minipod completion fish > ~/.config/fish/completions/minipod.fish"),
		Action: func(c *urfave.Context) error {
			if err := checkArgs(c, 1, 1); err != nil {
				return err
			}
			script, ok := completionScripts()[c.Args().First()]
			if !ok {
				return usageError(c, fmt.Sprintf("there is no completion for %q: use bash, zsh or fish", c.Args().First()))
			}
			_, err := fmt.Fprint(a.out, script)
			return err
		},
	}
}

func completionScripts() map[string]string {
	return map[string]string{
		"bash": `# bash completion for minipod
_minipod() {
    local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT} words current=""
    # Split by blanks, not by COMP_WORDS: that one also splits at the colon of alpine:latest.
    IFS=$' \t\n' read -r -a words <<<"$line"
    [[ $line == *[[:blank:]] ]] || { current=${words[-1]}; unset 'words[-1]'; }
    COMPREPLY=($(minipod ` + completeVerb + ` "${words[@]:1}" "$current" 2>/dev/null))
    # What bash itself took for the start of the word must not come twice.
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _minipod minipod
`,
		"zsh": `#compdef minipod
_minipod() {
    local -a candidates
    candidates=("${(@f)$(minipod ` + completeVerb + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${candidates[1]} ]]; then
        compadd -- $candidates
    else
        _files
    fi
}
if [[ $funcstack[1] == _minipod ]]; then
    _minipod
else
    compdef _minipod minipod
fi
`,
		"fish": `# fish completion for minipod
function __minipod_complete
    set -l words (commandline -opc)
    minipod ` + completeVerb + ` $words[2..] (commandline -ct) 2>/dev/null
end
complete -c minipod -a '(__minipod_complete)'
`,
	}
}

// complete prints the candidates for the last of words, which may be empty, one a line. It prints no error: there is
// nobody to read it.
func (a *app) complete(words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	for _, candidate := range a.candidates(words) {
		if strings.HasPrefix(candidate, words[len(words)-1]) {
			fmt.Fprintln(a.out, candidate)
		}
	}
}

func (a *app) candidates(words []string) []string {
	tree := a.tree()
	known, verbs, path := flagTable(tree.Flags), tree.Commands, []string{}
	typed, current := words[:len(words)-1], words[len(words)-1]
	var named []string // what the verb is about, as far as it was typed
	for len(typed) > 0 {
		word := typed[0]
		typed = typed[1:]
		if strings.HasPrefix(word, "-") {
			if !wantsWord(known, word) {
				continue
			}
			if len(typed) == 0 {
				return valuesOf(strings.TrimLeft(word, "-"))
			}
			typed = typed[1:]
			continue
		}
		if verb := find(verbs, word); verb != nil {
			path, known, verbs = append(path, verb.Name), flagTable(verb.Flags), verb.Subcommands
			continue
		}
		named = append(named, word)
		if len(path) > 0 && path[0] == "run" {
			return nil // after the image come the words of the container's command
		}
	}
	switch {
	case strings.HasPrefix(current, "-"):
		return flagNames(known)
	case len(verbs) > 0:
		return verbNames(verbs)
	}
	return a.arguments(path, named)
}

// wantsWord tells whether the next word is the value of this flag: "-o", "--output", but not "--output=json".
func wantsWord(known []flags.Flag, word string) bool {
	name := strings.TrimLeft(word, "-")
	i := slices.IndexFunc(known, func(f flags.Flag) bool { return f.Name == name || f.Short == name })
	return i >= 0 && known[i].Kind != flags.Bool && known[i].Kind != flags.Optional
}

func flagNames(known []flags.Flag) []string {
	names := []string{"--help"}
	for _, f := range known {
		names = append(names, "--"+f.Name)
	}
	slices.Sort(names)
	return names
}

func verbNames(verbs []*urfave.Command) []string {
	var names []string
	for _, verb := range verbs {
		if !verb.Hidden {
			names = append(names, verb.Name)
		}
	}
	return names
}

// valuesOf are the words that a flag takes, where it takes only some.
func valuesOf(flag string) []string {
	return map[string][]string{
		"o":        {"table", "wide", "json", "yaml"},
		"output":   {"table", "wide", "json", "yaml"},
		"for":      {"condition=Ready", "delete", "create"},
		"dry-run":  {"client", "server", "none"},
		"pull":     {"missing", "always", "never"},
		"network":  {"none", "host"},
		"pid":      {"private", "host"},
		"ipc":      {"shareable", "private", "none", "host"},
		"format":   {"json", "table"},
		"cap-add":  {"ALL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE", "SYS_TIME"},
		"cap-drop": {"ALL", "CHOWN", "MKNOD", "NET_RAW", "SETUID", "SETGID"},
		"platform": {"linux/amd64", "linux/arm64"},

		"log-driver": {"json-file", "none"},
		"log-opt":    {"max-size=", "max-file="},
	}[flag]
}

// arguments are the images, volumes or containers that the verb at path may mean.
func (a *app) arguments(path, named []string) []string {
	var err error
	if a.dirs, err = state.Find(os.Getenv); err != nil {
		return nil
	}
	if candidates, ok := a.kubeArguments(path, named); ok {
		return candidates
	}
	switch strings.TrimPrefix(strings.Join(path, " "), "container ") {
	case "inspect":
		return append(a.containerNames(), a.imageNames()...)
	case "run", "rmi", "tag", "save", "images", "pull",
		"image rm", "image tag", "image save", "image ls", "image pull", "image inspect":
		return a.imageNames()
	case "volume rm", "volume inspect":
		all, err := volume.Open(a.dirs).List()
		if err != nil {
			return nil
		}
		var names []string
		for _, v := range all {
			names = append(names, v.Name)
		}
		return names
	case "attach", "exec", "logs", "generate yaml":
		return append(a.containerNames(), a.podNames()...)
	case "ns", "cgroups", "top", "rm", "diff", "export", "commit", "start", "stop", "restart", "kill", "rename",
		"pause", "unpause", "update", "stats", "port":
		return a.containerNames()
	case "completion":
		return []string{"bash", "zsh", "fish"}
	}
	return nil
}

func (a *app) containerNames() []string {
	containers, err := runtime.List(a.dirs)
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	return names
}
