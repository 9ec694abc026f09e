package runbook

// Build says which binary kept a report. A run may have had other workers before: that
// is the one that wrote it down.
type Build struct {
	Version  string `json:"version"`            // the release, "(devel)" for a build from a work tree
	Revision string `json:"revision,omitempty"` // the commit, empty when built without version control
	Modified bool   `json:"modified,omitempty"` // the work tree had changes that no commit holds
	Go       string `json:"go,omitempty"`       // the compiler
}

// Text is the build for people.
func (b Build) Text() string {
	text := b.Version
	switch {
	case b.Revision != "" && b.Modified:
		text += " (commit " + b.Revision + ", with changes of no commit)"
	case b.Revision != "":
		text += " (commit " + b.Revision + ")"
	}
	if b.Go != "" {
		text += ", " + b.Go
	}
	return text
}
