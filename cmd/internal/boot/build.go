package boot

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// version is set by the release build: -ldflags "-X …/cmd/internal/boot.version=v1.2.3".
var version string

// Info says which build this is.
type Info struct {
	Version  string // the release, "(devel)" for a build from a work tree
	Revision string // the commit, empty when built without version control
	Modified bool   // the work tree had changes that no commit holds
	Go       string // the compiler
}

// Build reads what the Go linker noted about this binary.
func Build() Info {
	b, _ := debug.ReadBuildInfo() // nil without modules
	return infoOf(version, b)
}

// infoOf names a build by the version that its release was given, else by its module's.
func infoOf(version string, b *debug.BuildInfo) Info {
	info := Info{Version: version}
	if b != nil {
		info.Go = b.GoVersion
		if info.Version == "" {
			info.Version = b.Main.Version
		}
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Revision = s.Value
			case "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "(devel)"
	}
	return info
}

// String is what -version prints: "v1.2.3 (4f2a9c1d03be, modified) go1.26.8".
func (i Info) String() string {
	var rev []string
	if i.Revision != "" {
		rev = append(rev, i.Revision[:min(12, len(i.Revision))])
	}
	if i.Modified {
		rev = append(rev, "modified")
	}
	if len(rev) == 0 {
		return fmt.Sprintf("%s %s", i.Version, i.Go)
	}
	return fmt.Sprintf("%s (%s) %s", i.Version, strings.Join(rev, ", "), i.Go)
}
