package runbook

import "testing"

func TestABuildIsToldWithItsCommit(t *testing.T) {
	for want, b := range map[string]Build{
		"v1.0.0 (commit 4f2a9c1, with changes of no commit), go1.26": {Version: "v1.0.0", Revision: "4f2a9c1", Modified: true, Go: "go1.26"},
		"v1.0.0 (commit 4f2a9c1), go1.26":                            {Version: "v1.0.0", Revision: "4f2a9c1", Go: "go1.26"},
		"v1.0.0, go1.26":                                             {Version: "v1.0.0", Go: "go1.26"},
		"(devel)":                                                    {Version: "(devel)"},
	} {
		if got := b.Text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
