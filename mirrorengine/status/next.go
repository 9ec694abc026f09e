package status

// Next is the transition table. A refused event leaves the mirror as it was; the
// error is a *Refusal.
func Next(from Status, e Event) (Status, error) {
	to, why := next(from, e)
	if why != allowed {
		return from, &Refusal{From: from, Event: e, why: why}
	}
	return to, nil
}

// next is exhaustive on purpose: a new status or event does not pass the linter
// before somebody has thought about each of its pairs.
func next(from Status, e Event) (Status, reason) {
	if from != None && !from.Valid() {
		return from, impossible
	}
	if why := everywhere(from, e); why != allowed {
		return from, why
	}
	switch e {
	case Created:
		if from == None {
			return PendingMirror, allowed
		}
		return from, exists
	case Rejoined:
		// Out of STOPPED as well: a topic that was failed over becomes a mirror again
		// when operations have gone home (reverse-and-start of the contract).
		if from == None || from == Stopped {
			return PendingMirror, allowed
		}
		return from, exists
	case Deleted:
		return None, allowed
	case Pause:
		return pause(from)
	case Resume:
		return resume(from)
	case PromoteRequested:
		return promote(from)
	case FailoverRequested:
		return failover(from)
	case LinkIsPaused, LinkIsResumed, SourceLost, SourceFound, LinkHasFailed, LinkRecovered, Fault:
		return observe(from, e), allowed
	case Activated:
		return only(from, PendingMirror, Active)
	case ActivatedPaused:
		return only(from, PendingMirror, Paused)
	case Drained:
		return only(from, PendingStopped, PendingStopped)
	case StopFinished:
		return only(from, PendingStopped, Stopped)
	case StopGivenUp:
		return only(from, PendingStopped, Active)
	case StopGivenUpPaused:
		return only(from, PendingStopped, Paused)
	case StopGivenUpLinkPaused:
		return only(from, PendingStopped, LinkPaused)
	case StopGivenUpSourceLost:
		return only(from, PendingStopped, SourceUnavailable)
	case StopGivenUpFailed:
		return only(from, PendingStopped, Failed)
	case StopGivenUpLinkFailed:
		return only(from, PendingStopped, LinkFailed)
	case StopGivenUpPendingMirror:
		return only(from, PendingStopped, PendingMirror)
	}
	return from, impossible
}

// everywhere answers where the status alone decides: there is no mirror, or it
// is in the middle of a restore, which facts do not touch and wishes must await.
func everywhere(from Status, e Event) reason {
	if e.kind() != wish {
		return allowed
	}
	switch from {
	case None:
		if e != Created && e != Rejoined {
			return noMirror
		}
	case PendingSynchronize, PendingSetupForRestore, PendingRestore:
		if e != Deleted {
			return restoring
		}
	case Active, Failed, LinkFailed, LinkPaused, Paused, PendingStopped, SourceUnavailable, Stopped, PendingMirror:
	}
	return allowed
}

// only is for a report of the engine's own work, possible in one status only.
func only(from, in, to Status) (Status, reason) {
	if from != in {
		return from, impossible
	}
	return to, allowed
}

// pause is remembered over a link that is paused or failed, so that the mirror
// stays paused when the link comes back.
func pause(from Status) (Status, reason) {
	switch from {
	case Active, SourceUnavailable, LinkPaused, LinkFailed, Paused:
		return Paused, allowed
	case Failed:
		return from, hasFailed
	case PendingStopped:
		return from, stopping
	case Stopped:
		return from, hasStopped
	case PendingMirror:
		return from, starting
	case None, PendingSynchronize, PendingSetupForRestore, PendingRestore:
	}
	return from, impossible
}

func resume(from Status) (Status, reason) {
	switch from {
	case Paused:
		return Active, allowed
	case Active, SourceUnavailable:
		return from, allowed // not paused: as wished
	case LinkPaused:
		return from, linkPaused
	case LinkFailed:
		return from, linkFailed
	case Failed:
		return from, hasFailed
	case PendingStopped:
		return from, stopping
	case Stopped:
		return from, hasStopped
	case PendingMirror:
		return from, starting
	case None, PendingSynchronize, PendingSetupForRestore, PendingRestore:
	}
	return from, impossible
}

// promote drains, so it needs a mirror that is fetching.
func promote(from Status) (Status, reason) {
	switch from {
	case Active:
		return PendingStopped, allowed
	case Paused:
		return from, paused
	case LinkPaused:
		return from, linkPaused
	case SourceUnavailable:
		return from, sourceLost
	case LinkFailed:
		return from, linkFailed
	case Failed:
		return from, hasFailed
	case PendingStopped:
		return from, stopping
	case Stopped:
		return from, hasStopped
	case PendingMirror:
		return from, starting
	case None, PendingSynchronize, PendingSetupForRestore, PendingRestore:
	}
	return from, impossible
}

// failover asks nothing of the source. Over a promote that does not come to its
// end it turns that into a failover; asked twice it is the same one.
func failover(from Status) (Status, reason) {
	switch from {
	case Active, Paused, LinkPaused, SourceUnavailable, LinkFailed, Failed, PendingMirror, PendingStopped:
		return PendingStopped, allowed
	case Stopped:
		return from, hasStopped
	case None, PendingSynchronize, PendingSetupForRestore, PendingRestore:
	}
	return from, impossible
}

// observe never refuses: what happened has happened. A stop that has begun goes on
// whatever the source does (a promote that thereby does not end is given up by
// its owner), and a stopped mirror has nothing to do with its link.
func observe(from Status, e Event) Status {
	switch from {
	case None, PendingStopped, Stopped, Failed, PendingSynchronize, PendingSetupForRestore, PendingRestore:
		return from
	case Active, LinkFailed, LinkPaused, Paused, SourceUnavailable, PendingMirror:
	}
	if e == Fault {
		return Failed
	}
	if from == Paused || from == PendingMirror {
		return from
	}
	switch {
	case e == LinkIsPaused:
		return LinkPaused
	case e == LinkIsResumed && from == LinkPaused,
		e == LinkRecovered && from == LinkFailed,
		e == SourceFound && from == SourceUnavailable:
		return Active
	case e == LinkHasFailed && (from == Active || from == SourceUnavailable):
		return LinkFailed
	case e == SourceLost && from == Active:
		return SourceUnavailable
	}
	return from
}
