package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/volume"
)

// typed runs a command line in a home of its own and returns what a person sees.
func typed(t *testing.T, args ...string) (out, err string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &stdout, err: &stderr, args: args}
	status = a.main(t.Context(), args)
	return stdout.String(), stderr.String(), status
}

func home(t *testing.T) {
	t.Helper()
	t.Setenv("MINIPOD_ROOT", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
}

// TestTyped is a table of short sessions: what is typed, and what comes back.
func TestTyped(t *testing.T) {
	home(t)
	for _, c := range []struct {
		line   string
		out    string // contained in standard output
		err    string // contained in standard error
		status int
	}{
		{"", "Usage: minipod [flags] VERB", "", 0},
		{"--help", "minipod doctor", "", 0},
		{"help volume ls", "Usage: minipod volume ls [flags]\n", "", 0},
		{"volume ls -h", "-o, --output FORM", "", 0},
		{"images --help", "Usage: minipod images [flags] [REPOSITORY[:TAG]]", "", 0},
		{"run --help", "--cap-drop CAPABILITY", "", 0},
		{"--version", "minipod version ", "", 0},
		{"version --format {{.Client.Os}}", "linux\n", "", 0},
		{"version -ojson", `"Arch": `, "", 0},

		{"imagse", "", "minipod: unknown command: minipod imagse\nhint: run `minipod images`, if you meant that\n", 125},
		{"volume craete", "", "hint: run `minipod volume create`, if you meant that\n", 125},
		{"xyzzy", "", "hint: run `minipod --help` to see the verbs there are\n", 125},
		{"images --fitler x=y", "", "minipod: unknown flag: --fitler\n", 125},
		{"images -Z", "", "minipod: unknown shorthand flag: 'Z' in -Z\nhint: run `minipod images --help`\n", 125},
		{"images --filter", "", "flag needs an argument: --filter", 125},
		{"images --all-tags", "", "unknown flag: --all-tags", 125},
		{"volume inspect", "", `"minipod volume inspect" requires at least 1 argument, got 0`, 125},
		{"tag one", "", `"minipod tag" requires exactly 2 arguments, got 1`, 125},
		{"volume create a1 b1", "", `"minipod volume create" requires at most 1 argument, got 2`, 125},

		{"volume create db --label tier=db --label a=b,c", "db\n", "", 0}, // flags may follow, and a comma is no separator
		{"volume create other", "other\n", "", 0},
		{"volume ls --filter name=db", "DRIVER   VOLUME NAME\nlocal    db\n", "", 0},
		{"volume ls -q --filter label=a=b,c", "db\n", "", 0},
		{"volume ls --filter label=tier=web -q", "", "", 0},
		{"volume ls --format {{.Name}}:{{.Labels}} --filter name=db", "db:a=b,c,tier=db\n", "", 0},
		{"volume ls -oyaml --filter name=db", "- CreatedAt: ", "", 0},
		{"volume ls --filter dangling=perhaps", "", "it must be true or false", 125},
		{"volume ls --filter size=1", "", "invalid filter \"size\": use one of dangling, driver", 125},
		{"volume ls -o xml", "", "unknown output form \"xml\"", 125},
		{"volume ls -o json --format {{.}}", "", "exclude each other", 125},
		{"volume ls --format {{.Nam}}", "", "can't evaluate field Nam", 1},
		{"volume ls --format {{.Name", "", "unclosed action", 1},
		{"volume inspect -f {{.Driver}} db nope", "local\n", "minipod: get nope: no such volume\n", 1},
		{"volume inspect -f {{.Nope}} db", "", "hint: print --format json to see the names there are\n", 1},
		{"volume inspect -f {{ db", "", "minipod: parse the template: ", 64},
		{"volume inspect nope", "[]\n", "no such volume", 1},
		{"volume create -d nfs x1", "", "there is no volume driver \"nfs\"", 125},
		{"volume create --opt type=nfs x1", "", "volume options are not supported", 1},
		{"volume create ../up", "", "invalid volume name", 1},
		{"volume prune", "", "hint: use --force to go on without being asked\n", 1},
		{"volume create -- -x", "", "invalid volume name", 1},

		{"images", "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n", "", 0},
		{"images -o json", "[]\n", "", 0},
		{"images -aq", "", "", 0},
		{"image inspect nope", "[]\n", "no such image", 1},
		{"tag nope other", "", "no such image", 1},
		{"inspect --type network x", "", "unknown type", 125},
		{"completion tcsh", "", "use bash, zsh or fish", 125},
		{"completion bash", "complete -o bashdefault", "", 0},
		{"info -f {{.Unqualified}}", "docker.io\n", "", 0},
	} {
		out, err, status := typed(t, strings.Fields(c.line)...)
		if !strings.Contains(out, c.out) || !strings.Contains(err, c.err) || status != c.status || c.err == "" && err != "" {
			t.Errorf("minipod %s\nstdout %q, want %q\nstderr %q, want %q\nstatus %d, want %d", c.line, out, c.out, err, c.err, status, c.status)
		}
	}
}

func TestVolumeJSON(t *testing.T) {
	home(t)
	typed(t, "volume", "create", "db")
	out, _, _ := typed(t, "volume", "ls", "-o", "json")
	var all []volume.Volume
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0].Name != "db" {
		t.Errorf("%q: %v", out, err)
	}
}

func TestRootFlag(t *testing.T) {
	home(t)
	usual, elsewhere := os.Getenv("MINIPOD_ROOT"), t.TempDir()
	typed(t, "--root", elsewhere, "volume", "create", "db")
	t.Setenv("MINIPOD_ROOT", usual)
	if out, _, _ := typed(t, "--root="+elsewhere, "volume", "ls", "-q"); out != "db\n" {
		t.Errorf("with --root: %q", out)
	}
	t.Setenv("MINIPOD_ROOT", usual)
	if out, _, _ := typed(t, "volume", "ls", "-q"); out != "" {
		t.Errorf("without --root: %q", out)
	}
}

func TestComplete(t *testing.T) {
	home(t)
	typed(t, "volume", "create", "db-one")
	for line, want := range map[string]string{
		"vol":                  "volume",
		"volume ":              "create ls inspect rm prune",
		"volume rm ":           "db-one",
		"volume rm db-one db":  "db-one",
		"volume rm x":          "",
		"images --no":          "--no-trunc",
		"images -o ":           "table wide json yaml",
		"images --output=json": "",
		"run --pull a":         "always",
		"run --rm --ini":       "--init",
		"run alpine --":        "",
		"completion ":          "bash zsh fish",
		"--ro":                 "--root",
	} {
		out, _, _ := typed(t, append([]string{completeVerb}, strings.Split(line, " ")...)...)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("minipod %s<TAB> = %q, want %q", line, got, want)
		}
	}
}

// TestTypedInChinese: what a person is told who typed too few arguments, in the language of the environment.
func TestTypedInChinese(t *testing.T) {
	home(t)
	t.Setenv("MINIPOD_LANG", "zh")
	for line, want := range map[string]string{
		"rm":                  "minipod: \"minipod rm\" 需要至少 1 个参数，得到 0 个\n提示：运行 `minipod rm --help`\n",
		"ps extra":            "minipod: \"minipod ps\" 不接受参数，得到 1 个\n提示：运行 `minipod ps --help`\n",
		"tag one":             "minipod: \"minipod tag\" 需要恰好 2 个参数，得到 1 个\n提示：运行 `minipod tag --help`\n",
		"lab start --lang en": "minipod: \"minipod lab start\" requires exactly 1 argument, got 0\nhint: run `minipod lab start --help`\n",
	} {
		if _, err, status := typed(t, strings.Fields(line)...); err != want || status != 125 {
			t.Errorf("%s: status %d\n%s", line, status, err)
		}
	}
}
