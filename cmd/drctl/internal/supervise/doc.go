// Package supervise runs one application command so that it follows a pair's record of truth: it stops the child when the
// pair is frozen or the group's site changes, acknowledges, and starts it again with the new site's bootstrap servers and
// credentials.
//
// It does not read Consul (package client does and hands records over), decides nothing about the pair, and is no process
// manager: one child, restarted only because of the record unless Config.Restart is set.
//
// What a phase means to a child:
//
//   - open: it runs at the group's site.
//   - moving: the same. The record's site is where clients belong at any time, so a child whose site has not changed is
//     left alone and one that was stopped may start at the new site; a failover does not stop what it has no reason to
//     stop, and a switchover has said frozen before.
//   - frozen: it is stopped and stays so.
//
// Start with [Run]; target.go is the decision, child.go the process.
package supervise
