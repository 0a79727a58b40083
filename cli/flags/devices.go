package flags

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/minipod/minipod/internal/hint"
)

func (r *Resources) addReadBps(value string) error {
	return r.addDevice(value, parseRate, func(d *DeviceLimit) *uint64 { return &d.ReadBps })
}

func (r *Resources) addWriteBps(value string) error {
	return r.addDevice(value, parseRate, func(d *DeviceLimit) *uint64 { return &d.WriteBps })
}

func (r *Resources) addReadIOPS(value string) error {
	return r.addDevice(value, parseCount, func(d *DeviceLimit) *uint64 { return &d.ReadIOPS })
}

func (r *Resources) addWriteIOPS(value string) error {
	return r.addDevice(value, parseCount, func(d *DeviceLimit) *uint64 { return &d.WriteIOPS })
}

// addDevice takes DEVICE:RATE.
func (r *Resources) addDevice(value string, parse func(string) (uint64, error), field func(*DeviceLimit) *uint64) error {
	cut := strings.LastIndexByte(value, ':') // names of devices may have colons (/dev/disk/by-path)
	if cut < 0 {
		return badDevice(value, "write /dev/NAME:RATE")
	}
	d, err := r.device(value[:cut])
	if err != nil {
		return err
	}
	rate, err := parse(value[cut+1:])
	if err != nil {
		return err
	}
	*field(d) = rate
	return nil
}

// addIOMax takes what io.max does, with a path in the number's place: "/dev/sda rbps=1m wiops=100". "max" lifts a limit.
func (r *Resources) addIOMax(value string) error {
	const form = "write /dev/NAME, and some of rbps=BYTES wbps=BYTES riops=NUMBER wiops=NUMBER"
	words := strings.Fields(value)
	if len(words) < 2 {
		return badDevice(value, form)
	}
	d, err := r.device(words[0])
	if err != nil {
		return err
	}
	for _, word := range words[1:] {
		key, text, _ := strings.Cut(word, "=")
		var target *uint64
		parse := parseRate
		switch key {
		case "rbps":
			target = &d.ReadBps
		case "wbps":
			target = &d.WriteBps
		case "riops":
			target, parse = &d.ReadIOPS, parseCount
		case "wiops":
			target, parse = &d.WriteIOPS, parseCount
		default:
			return badDevice(value, form)
		}
		if text == "max" {
			*target = 0
			continue
		}
		if *target, err = parse(text); err != nil {
			return err
		}
	}
	return nil
}

// device returns the limits of the device at path, which may be new.
func (r *Resources) device(path string) (*DeviceLimit, error) {
	if !strings.HasPrefix(path, "/dev/") {
		return nil, badDevice(path, "name a device below /dev")
	}
	i := slices.IndexFunc(r.Devices, func(d DeviceLimit) bool { return d.Path == path })
	if i < 0 {
		i = len(r.Devices)
		r.Devices = append(r.Devices, DeviceLimit{Path: path})
	}
	return &r.Devices[i], nil
}

func badDevice(value, advice string) error {
	return hint.Wrap(fmt.Errorf("invalid limit of a device %q", value), advice)
}

func parseRate(text string) (uint64, error) {
	n, err := parseAmount(text)
	if err == nil && n == 0 {
		err = badDevice(text, "write a number of bytes a second, or one with k, m, g or t")
	}
	return uint64(n), err
}

func parseCount(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return 0, badDevice(text, "write a number of operations a second")
	}
	return n, nil
}

// parseAmount reads a number of bytes as docker's limits have it: parseSize, and also fractions (1.5g), a blank before the
// unit, and 0.
func parseAmount(text string) (int64, error) {
	unitStart := strings.IndexFunc(text, func(c rune) bool { return (c < '0' || c > '9') && c != '.' })
	if unitStart < 0 {
		unitStart = len(text)
	}
	number, unit := text[:unitStart], strings.TrimPrefix(text[unitStart:], " ")
	whole, fraction, isFraction := strings.Cut(number, ".")
	if strings.Trim(whole, "0") == "" && strings.Trim(fraction, "0") == "" && whole != "" {
		if _, err := parseSize("1" + unit); err != nil { // parseSize refuses 0, and here it is the unit that counts
			return 0, badSize(text)
		}
		return 0, nil
	}
	if !isFraction {
		n, err := parseSize(whole + unit)
		if err != nil {
			return 0, badSize(text)
		}
		return n, nil
	}
	one, err := parseSize("1" + unit)
	f, err2 := strconv.ParseFloat(number, 64)
	if err != nil || err2 != nil || f*float64(one) >= 1<<62 {
		return 0, badSize(text)
	}
	return int64(f * float64(one)), nil
}

func badSize(text string) error {
	return hint.Wrap(fmt.Errorf("invalid size %q", text), "write a number of bytes, or one with k, m, g or t")
}
