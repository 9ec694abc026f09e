// Package fakeslack is a Slack of our own, as strict as we could read it from the documentation of Slack's API: a Web API that
// checks every payload against Block Kit's limits, Socket Mode over real websockets, requests signed as Slack signs them, people
// who type commands, click and submit.
//
// It has one workspace and whichever channels and users are named. It shows nothing to anybody: what users would see is in
// [Slack.Messages], [Slack.Told] and [Slack.View]; what a real Slack would have refused, or its users would have seen as a fault,
// is in [Slack.Wrong], which tests want to be empty.
//
// Sources: docs.slack.dev, reference/block-kit (limits), apis/web-api/rate-limits, apis/events-api/using-socket-mode (envelopes,
// three seconds for an acknowledgement), interactivity/handling-user-interaction (trigger ids, response URLs),
// authentication/verifying-requests-from-slack.
package fakeslack
