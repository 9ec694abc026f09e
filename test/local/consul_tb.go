package local

// ConsulForTest starts an agent that is stopped when the test ends; when the test failed the end of the agent's log is
// printed. An empty Dir becomes a folder of the test.
func ConsulForTest(t TB, cfg ConsulConfig) *Consul {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c, err := StartConsul(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of consul %s:\n%s", c.cfg.Name, c.Log(20))
		}
		if err := c.Stop(); err != nil {
			t.Logf("stop consul %s: %v", c.cfg.Name, err)
		}
	})
	return c
}
