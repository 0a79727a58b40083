package flags

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"codeberg.org/minipod/minipod/internal/hint"
)

func TestResources(t *testing.T) {
	want := Resources{
		Memory: 6 << 20, MemorySwap: 1 << 30, MemoryReservation: 6 << 20, NanoCPUs: 500_000_000, CPUShares: 512,
		CpusetCPUs: "0-2,5", CpusetMems: "0", PidsLimit: 20, BlkioWeight: 300, CgroupParent: "/mine",
		Devices: []DeviceLimit{{Path: "/dev/disk/by-path/pci-0000:00:1", ReadBps: 1 << 20}, {"/dev/sda", 0, 2048, 9, 7}},
	}
	run, err := ParseRun(strings.Fields("-m 512MB --memory-swap=1g --memory-reservation 6m --cpus .5 -c 512 --cpuset-cpus 0-2,5 --cpuset-mems 0 --pids-limit 20" +
		" --blkio-weight 300 --device-read-bps /dev/disk/by-path/pci-0000:00:1:1mb --device-write-iops /dev/sda:7 --device-write-bps /dev/sda:2k" +
		" --device-read-iops /dev/sda:9 --cgroup-parent /sys/fs/cgroup/mine --memory=6m alpine"))
	if err != nil || !reflect.DeepEqual(run.Resources, want) {
		t.Errorf("%+v, want %+v; %v", run.Resources, want, err)
	}
	run, err = ParseRun([]string{"--cpu-period=50000", "--cpu-quota", "25000", "--pids-limit=0", "--io-max", "/dev/sda  rbps=1m wbps=max riops=5 wiops=6", "alpine"})
	want = Resources{CPUPeriod: 50000, CPUQuota: 25000, PidsLimit: -1, Devices: []DeviceLimit{{"/dev/sda", 1 << 20, 0, 5, 6}}}
	if err != nil || !reflect.DeepEqual(run.Resources, want) {
		t.Errorf("%+v, want %+v; %v", run, want, err)
	}
}

func TestResourcesRefused(t *testing.T) {
	for line, want := range map[string]string{
		"-m 5m":                                "minimum memory limit allowed is 6MB",
		"-m 1":                                 "6MB",
		"-m -1":                                "invalid size",
		"-m 1.5.5g":                            "invalid size",
		"-m 512XB":                             "invalid size",
		"-m 9999999999999t":                    "invalid size",
		"--memory-reservation 1m":              "6MB",
		"--memory-swap 1g":                     "no --memory",
		"--memory-swap -1":                     "no --memory",
		"-m 1g --memory-swap 512m":             "below --memory",
		"-m 1g --memory-reservation 2g":        "above --memory",
		"--cpus 0.001":                         "invalid number of processors",
		"--cpus -1":                            "invalid number of processors",
		"--cpus 1e3":                           "invalid number of processors",
		"--cpus .":                             "invalid number of processors",
		"--cpus 0.1234567891":                  "invalid number of processors",
		"--cpus 99999999999999":                "invalid number of processors",
		"--cpus 1 --cpu-quota 5000":            "--cpus says the same",
		"--cpu-shares 1":                       "invalid shares",
		"--cpu-shares -5":                      "invalid shares",
		"--cpu-period 999":                     "invalid period",
		"--cpu-quota 999":                      "invalid quota",
		"--cpu-quota -2":                       "invalid quota",
		"--cpuset-cpus 2-1":                    "invalid list",
		"--cpuset-cpus 0,":                     "invalid list",
		"--cpuset-cpus a":                      "invalid list",
		"--cpuset-cpus 1-2-3":                  "invalid list",
		"--cpuset-mems 70000":                  "invalid list",
		"--blkio-weight 9":                     "invalid weight",
		"--blkio-weight 1001":                  "invalid weight",
		"--device-read-bps /dev/sda":           "invalid limit of a device",
		"--device-read-bps sda:1m":             "invalid limit of a device",
		"--device-read-bps /dev/sda:0":         "invalid limit of a device",
		"--device-read-iops /dev/sda:1m":       "invalid limit of a device",
		"--io-max /dev/sda":                    "invalid limit of a device",
		"--io-max=/dev/sda\u00a0rpbs=1":        "invalid limit of a device",
		"--cgroup-parent ../x":                 "invalid cgroup",
		"--cgroup-parent /a/../b":              "invalid cgroup",
		"--pids-limit 99999999999999999999999": "pids-limit",
	} {
		_, err := ParseRun(append(strings.Split(line, " "), "alpine"))
		if err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" || hint.ExitStatus(err, 0) != hint.ExitRuntime {
			t.Errorf("%s: %v (%s), want %s", line, err, hint.Of(err), want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0m": 0, "0.0g": 0, "7": 7, "512MB": 512 << 20, "512 MB": 512 << 20, "1.5g": 3 << 29, "0.5k": 512, "1GiB": 1 << 30, "2b": 2,
	} {
		if n, err := parseAmount(text); n != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", ".", "g", ".5.", "-1", "0x", "1.5x", "  1", "1  m", "99999999999.9t"} {
		if n, err := parseAmount(text); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

// TestMoreProcessorsThanThereAre is a warning, where docker has an error: the container runs, and has all that there is.
func TestMoreProcessorsThanThereAre(t *testing.T) {
	r := Resources{NanoCPUs: 2.5e9}
	if warnings, err := r.check(2); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "2 processors") {
		t.Errorf("%q, %v", warnings, err)
	}
	if warnings, err := r.check(3); err != nil || warnings != nil {
		t.Errorf("%q, %v", warnings, err)
	}
	if run := parse(t, "--cpus 100000 alpine"); len(run.Warnings) != 1 {
		t.Errorf("%q", run.Warnings)
	}
}

func TestSpec(t *testing.T) {
	for line, want := range map[string]string{
		"":                        `null`,
		"--memory 0 --cpus 0":     `null`,
		"--cgroup-parent x.slice": `null`,
		"-m 8m":                   `{"memory":{"limit":8388608,"swap":16777216}}`,
		"-m 8m --memory-swap -1":  `{"memory":{"limit":8388608,"swap":-1}}`,
		"-m 8m --memory-swap 8m":  `{"memory":{"limit":8388608,"swap":8388608}}`,
		"--memory-reservation 8m": `{"memory":{"reservation":8388608}}`,
		"--cpus 0.5":              `{"cpu":{"quota":50000,"period":100000}}`,
		"--cpus 1.25":             `{"cpu":{"quota":125000,"period":100000}}`,
		"--cpu-quota -1":          `{"cpu":{"quota":-1}}`,
		"-c 2 --cpuset-cpus 0":    `{"cpu":{"shares":2,"cpus":"0"}}`,
		"--pids-limit -1":         `{"pids":{"limit":-1}}`,
		"--blkio-weight 10":       `{"blockIO":{"weight":10}}`,
	} {
		run := parse(t, line+" alpine")
		spec, err := run.Resources.Spec()
		text, _ := json.Marshal(spec)
		if err != nil || string(text) != want {
			t.Errorf("%s: %s, %v; want %s", line, text, err, want)
		}
	}
	for _, path := range []string{"/dev/null", "/dev/no-such-disk"} {
		r := Resources{Devices: []DeviceLimit{{Path: path, ReadBps: 1}}}
		if _, err := r.Spec(); err == nil || !strings.Contains(err.Error(), path) || hint.Of(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	disks, _ := filepath.Glob("/dev/[vs]da")
	if len(disks) == 0 {
		disks, _ = filepath.Glob("/dev/loop0")
	}
	for _, disk := range disks[:min(1, len(disks))] {
		if info, err := os.Stat(disk); err != nil || info.Mode()&os.ModeDevice == 0 {
			continue
		}
		r := Resources{Devices: []DeviceLimit{{disk, 1, 2, 3, 4}}}
		spec, err := r.Spec()
		if err != nil || len(spec.BlockIO.ThrottleReadBpsDevice) != 1 || spec.BlockIO.ThrottleWriteIOPSDevice[0].Rate != 4 || spec.BlockIO.ThrottleReadBpsDevice[0].Major == 0 {
			t.Errorf("%s: %+v, %v", disk, spec, err)
		}
	}
}

// TestResourceFlags: update has the same flags, and sets them one by one.
func TestResourceFlags(t *testing.T) {
	if !slices.IsSortedFunc(resourceFlags, func(a, b resourceFlag) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the table isn't sorted by name")
	}
	seen := map[string]bool{}
	for _, f := range RunFlags() {
		for _, name := range []string{"--" + f.Name, "--" + f.Alias, "-" + f.Short} {
			if strings.Trim(name, "-") != "" && seen[name] {
				t.Errorf("%s stands for two flags", name)
			}
			seen[name] = true
		}
		if (f.Kind == Bool) != (f.Value == "") || f.Usage == "" {
			t.Errorf("--%s lacks a placeholder or a usage", f.Name)
		}
	}
	settings, rest, err := Parse(ResourceFlags(), []string{"--memory", "64m", "-c", "5", "web"})
	if err != nil || len(rest) != 1 {
		t.Fatal(rest, err)
	}
	var r Resources
	for _, s := range settings {
		if err := r.Set(s.Flag.Name, s.Value); err != nil {
			t.Error(err)
		}
	}
	if r.Memory != 64<<20 || r.CPUShares != 5 {
		t.Errorf("%+v", r)
	}
	if err := r.Set("privileged", "true"); err == nil {
		t.Error("--privileged is a limit")
	}
}
