package local

// TemporalForTest starts a server that is stopped when the test ends; when the test failed the end of the server's log is
// printed. An empty Dir becomes a folder of the test.
func TemporalForTest(t TB, cfg TemporalConfig) *Temporal {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := StartTemporal(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of temporal on %s:\n%s", s.hostPort, s.Log(20))
		}
		if err := s.Stop(); err != nil {
			t.Logf("stop temporal on %s: %v", s.hostPort, err)
		}
	})
	return s
}
