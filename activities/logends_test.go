package activities

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a step names of a large link goes into a history, which has its limits.
func TestOfManyLinesTheFirstAreNamedAndTheRestCounted(t *testing.T) {
	lines := make([]string, 24000)
	for i := range lines {
		lines[i] = fmt.Sprintf("orders/%d", i)
	}
	if got := first(slices.Clone(lines[:named])); !slices.Equal(got, lines[:named]) {
		t.Errorf("of %d: %q", named, got)
	}
	want := append(slices.Clone(lines[:named]), "and 23980 more")
	if diff := cmp.Diff(want, first(slices.Clone(lines))); diff != "" {
		t.Error(diff)
	}
}
