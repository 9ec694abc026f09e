package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// SaveReport writes both files whole or not at all; a second attempt writes the
// same again. A relative folder begins at the worker's reports folder.
//
// Offsets that were too many for the run's history are read from the engine now:
// it keeps those of ended mirrors. Without an answer the report says so.
func (a *Activities) SaveReport(ctx context.Context, in workflows.SaveReportInput) (workflows.SaveReportResult, error) {
	var out workflows.SaveReportResult
	id := in.Report.OpID
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return out, refuse(workflows.ErrRefused, "operation id %q cannot name a report's file", id)
	}
	folder := a.reports(in.Folder)
	// A plan that cannot be read any more is a changed one.
	if in.Report.PlanHash != "" && a.opts.PlansDir != "" {
		_, hash, err := a.plan(in.Call.Pair)
		out.PlanChanged = err != nil || hash != in.Report.PlanHash
	}
	in.Report.PlanChanged = out.PlanChanged
	if in.Offsets != nil {
		if risk, err := a.risk(ctx, *in.Offsets); err == nil {
			in.Report.Stops, in.Report.Offsets = risk.Partitions, risk.Groups
		} else {
			in.Report.Findings = append(in.Report.Findings, fmt.Sprintf("the stop offsets are here by topic only, engine %s has them by partition and did not give them: %v", in.Offsets.Site.Name, err))
		}
	}
	body, err := in.Report.JSON()
	if err != nil {
		return out, settle(fmt.Errorf("report of %s: %w", id, err))
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return out, settle(fmt.Errorf("reports folder: %w", err))
	}
	out.JSON = filepath.Join(folder, id+".json")
	out.Markdown = filepath.Join(folder, id+".md")
	err = errors.Join(whole(out.JSON, append(body, '\n')), whole(out.Markdown, []byte(in.Report.Markdown())))
	if err != nil {
		return out, settle(fmt.Errorf("report of %s: %w", id, err))
	}
	return out, nil
}

// reports is the folder that a plan names, which begins at the worker's own.
func (a *Activities) reports(folder string) string {
	if filepath.IsAbs(folder) {
		return folder
	}
	return filepath.Join(a.opts.ReportsDir, folder)
}

// whole writes a file so that a reader sees the old one or the new one.
func whole(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	err = errors.Join(err, f.Sync(), f.Chmod(0o640), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
