package activities

import (
	"runtime/debug"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// buildOf is what a report says of the binary that kept it: the version that the
// release was given ("" for what the module says), and what the linker noted.
func buildOf(version string, info *debug.BuildInfo) runbook.Build {
	b := runbook.Build{Version: version}
	if info != nil {
		b.Go = info.GoVersion
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	return b
}

func (a *Activities) build() *runbook.Build {
	info, _ := debug.ReadBuildInfo() // nil without modules
	b := buildOf(a.opts.Version, info)
	return &b
}
