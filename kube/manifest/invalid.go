package manifest

import (
	"crypto/rand"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Invalid is what is wrong with an object: all of it, in the API server's words.
type Invalid struct {
	Kind, Name string
	Errors     field.ErrorList
}

func (i *Invalid) Error() string {
	var lines []string
	seen := map[string]bool{}
	for _, err := range i.Errors {
		if line := err.Error(); !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	return fmt.Sprintf("The %s %q is invalid: %s", i.Kind, i.Name, listed(lines))
}

// listed is how kubectl shows one or more errors.
func listed(lines []string) string {
	if len(lines) == 1 {
		return lines[0]
	}
	return "\n* " + strings.Join(lines, "\n* ")
}

// A checker collects the errors of an object.
type checker struct{ errs field.ErrorList }

func (c *checker) add(errs ...*field.Error) { c.errs = append(c.errs, errs...) }

func (c *checker) required(p *field.Path, detail string) { c.add(field.Required(p, detail)) }

func (c *checker) forbidden(p *field.Path, detail string) { c.add(field.Forbidden(p, detail)) }

func (c *checker) invalid(p *field.Path, value any, details ...string) {
	for _, detail := range details {
		c.add(field.Invalid(p, value, detail))
	}
}

// oneOf holds a value to a list; an empty one is missing unless the list has it.
func oneOf[T ~string](c *checker, p *field.Path, value T, supported ...T) {
	for _, s := range supported {
		if value == s {
			return
		}
	}
	if value == "" {
		c.required(p, "")
		return
	}
	c.add(field.NotSupported(p, value, supported))
}

// mode holds a file's mode to Kubernetes' range.
func (c *checker) mode(p *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		c.invalid(p, *mode, "must be a number between 0 and 0777 (octal), both inclusive")
	}
}

func (c *checker) nonNegative(p *field.Path, value int64) {
	if value < 0 {
		c.add(field.Invalid(p, value, "must be greater than or equal to 0"))
	}
}

// The API server's names: a base of at most 58 bytes and five of these letters, which spell no words.
const nameLetters = "bcdfghjklmnpqrstvwxz2456789"

func generate(base string) string {
	if len(base) > 58 {
		base = base[:58]
	}
	name := []byte(base)
	for range 5 {
		// 27 letters out of 256 values: the first few are a little likelier, which harms no name.
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails: it ends the program instead
		name = append(name, nameLetters[int(b[0])%len(nameLetters)])
	}
	return string(name)
}
