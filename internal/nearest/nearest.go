// Package nearest finds the name that somebody probably meant: the "did you mean" of every error about an unknown name.
package nearest

// Name returns the candidate closest to s in edit distance, the first one of equals, or "" if none is close: more than
// a third of s's letters (at least one) would have to change.
func Name(s string, candidates []string) string {
	best, limit := "", max(1, len(s)/3)
	for _, c := range candidates {
		if d := distance(s, c, limit); d <= limit {
			best, limit = c, d-1 // only a strictly better one may follow
		}
	}
	return best
}

// distance is the optimal string alignment distance of a and b in bytes: insertions, deletions, substitutions and
// swaps of neighbours each cost one. Where
// their lengths alone differ by more than limit it returns limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
