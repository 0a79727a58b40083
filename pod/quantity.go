package pod

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// A Quantity is a number with Kubernetes' suffixes: 500m, 1.5, 64Mi, 2G, 1e3.
type Quantity string

// suffixes are the decimal and binary ones, and the power that each stands for.
var suffixes = []struct {
	name      string
	base, exp int64
}{
	{"Ki", 2, 10},
	{"Mi", 2, 20},
	{"Gi", 2, 30},
	{"Ti", 2, 40},
	{"Pi", 2, 50},
	{"Ei", 2, 60},
	{"n", 10, -9},
	{"u", 10, -6},
	{"m", 10, -3},
	{"k", 10, 3},
	{"M", 10, 6},
	{"G", 10, 9},
	{"T", 10, 12},
	{"P", 10, 15},
	{"E", 10, 18},
}

// UnmarshalJSON reads a string or a bare number.
func (q *Quantity) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	*q = Quantity(text)
	_, err := q.rat()
	return err
}

func (q Quantity) rat() (*big.Rat, error) {
	text, factor := string(q), big.NewRat(1, 1)
	for _, s := range suffixes {
		if number, ok := strings.CutSuffix(text, s.name); ok {
			power := new(big.Int).Exp(big.NewInt(s.base), big.NewInt(max(s.exp, -s.exp)), nil)
			text, factor = number, new(big.Rat).SetInt(power)
			if s.exp < 0 {
				factor.Inv(factor)
			}
			break
		}
	}
	if text == "" || len(text) > 40 || strings.Trim(text, "0123456789.eE+-") != "" {
		return nil, fmt.Errorf("%q is not a quantity", string(q))
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok && len(strings.TrimLeft(exponent, "+-")) > 2 {
		return nil, fmt.Errorf("%q is not a quantity", string(q))
	}
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is not a quantity", string(q))
	}
	return value.Mul(value, factor), nil
}

// Value is the quantity in units, rounded up: bytes, for memory. One that is malformed is 0.
func (q Quantity) Value() int64 { return q.scaled(1) }

// MilliValue is the quantity in thousandths, rounded up: for cpu.
func (q Quantity) MilliValue() int64 { return q.scaled(1000) }

func (q Quantity) scaled(by int64) int64 {
	value, err := q.rat()
	if err != nil {
		return 0
	}
	value.Mul(value, big.NewRat(by, 1))
	whole, rest := new(big.Int).DivMod(value.Num(), value.Denom(), new(big.Int))
	if rest.Sign() != 0 {
		whole.Add(whole, big.NewInt(1))
	}
	if !whole.IsInt64() {
		if whole.Sign() < 0 {
			return math.MinInt64
		}
		return math.MaxInt64
	}
	return whole.Int64()
}
