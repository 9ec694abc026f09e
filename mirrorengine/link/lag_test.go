package link

import (
	"testing"
	"time"
)

func TestRateFallsWhileTheSourceAnswersWithoutNewsAndStaysWhileItIsSilent(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l lagClock
	for i := range 11 {
		l.sample(start.Add(time.Duration(i)*time.Second), int64(i*100))
	}
	last := start.Add(10 * time.Second)
	for contact, want := range map[time.Duration]float64{
		0:                100, // the last sample came with the last answer
		-5 * time.Second: 100, // silent since before: as it was
		10 * time.Second: 50,  // twice the time, no more records
		time.Minute:      0,
	} {
		if got := l.rate(last.Add(contact)); got != want {
			t.Errorf("last answer %s after the last sample: %v records a second, want %v", contact, got, want)
		}
	}
}

func TestLagInSecondsIsTheAgeOfTheNewestSampleThatIsMirrored(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var l lagClock
	for i := range 11 {
		l.sample(start.Add(time.Duration(i)*time.Second), int64(i*100))
	}
	now := start.Add(12 * time.Second)
	for _, tc := range []struct {
		position int64
		contact  time.Time
		want     float64
	}{
		{1000, now, 0},
		{750, now, 5},                          // sample 7 (700) at second 7
		{1000, now.Add(-20 * time.Second), 20}, // blind: nobody knows what it took since
		{-1, now, 12},
	} {
		if got := l.seconds(now, tc.position, tc.contact, sourceGrace); got != tc.want {
			t.Errorf("position %d, contact %s ago: %v s, want %v", tc.position, now.Sub(tc.contact), got, tc.want)
		}
	}
}
