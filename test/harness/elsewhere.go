package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Elsewhere is the same pair as another Temporal sees it: a server, a worker and a drctl of its own, and the same sites, plan, people
// and reports. Nothing of the one Temporal is known to the other. Its Stop ends only what is its own.
func (s *System) Elsewhere(ctx context.Context) (_ *System, err error) {
	o := &System{
		cfg: s.cfg, Home: s.Home, Standby: s.Standby, PlanFile: s.PlanFile, Reports: s.Reports,
		people: s.people, logins: s.logins, super: s.super, canary: s.canary, binaries: s.binaries,
	}
	o.cfg.Dir = filepath.Join(s.cfg.Dir, "elsewhere")
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("another temporal for pair %s: %w", s.cfg.Pair, err), o.Stop())
		}
	}()
	dir := filepath.Join(o.cfg.Dir, "temporal")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(s.cfg.Dir, "keys"), filepath.Join(o.cfg.Dir, "keys")); err != nil {
		return nil, err
	}
	if o.Temporal, err = local.StartTemporal(ctx, local.TemporalConfig{Dir: dir, SearchAttributes: searchAttributes()}); err != nil {
		return nil, err
	}
	o.stop = append(o.stop, o.Temporal.Stop)
	o.Drctl = &Drctl{system: o, binary: o.binaries["drctl"]}
	return o, o.startWorker(ctx)
}
