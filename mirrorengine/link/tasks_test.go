package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// What a link cannot do just now its tasks say, each with the errors it met last.
func TestTasksFollowTheStateOfTheirLink(t *testing.T) {
	met := []api.TaskError{{ErrorCode: "INTERNAL_ERROR", ErrorMessage: "why"}}
	l := &Link{
		cfg: Config{OffsetSync: true, ACLSync: true},
		tasks: map[string]api.LinkTask{
			api.TaskOffsetSync: {TaskName: api.TaskOffsetSync, State: api.TaskInError, Errors: met},
			api.TaskConfigSync: {TaskName: api.TaskConfigSync, State: api.TaskActive},
			"SourceRetention":  {TaskName: "SourceRetention", State: api.TaskActive},
		},
	}
	for state, want := range map[string]string{
		api.LinkActive:      "ConsumerOffsetSync=IN_ERROR/1 AclSync=UNKNOWN/0 AutoCreateMirror=NOT_CONFIGURED/0 TopicConfigsSync=ACTIVE/0 SourceRetention=ACTIVE/0",
		api.LinkPaused:      "ConsumerOffsetSync=IN_ERROR/1 AclSync=LINK_PAUSED/0 AutoCreateMirror=NOT_CONFIGURED/0 TopicConfigsSync=LINK_PAUSED/0 SourceRetention=ACTIVE/0",
		api.LinkFailed:      "ConsumerOffsetSync=LINK_FAILED/1 AclSync=LINK_FAILED/0 AutoCreateMirror=NOT_CONFIGURED/0 TopicConfigsSync=LINK_FAILED/0 SourceRetention=ACTIVE/0",
		api.LinkUnavailable: "ConsumerOffsetSync=LINK_UNAVAILABLE/1 AclSync=LINK_UNAVAILABLE/0 AutoCreateMirror=NOT_CONFIGURED/0 TopicConfigsSync=LINK_UNAVAILABLE/0 SourceRetention=ACTIVE/0",
	} {
		var got []string
		for _, task := range l.describeTasks(state) {
			got = append(got, fmt.Sprintf("%s=%s/%d", task.TaskName, task.State, len(task.Errors)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %s, want %s", state, strings.Join(got, " "), want)
		}
	}
}
