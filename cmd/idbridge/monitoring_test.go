package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idbridge/idbridge/strictyaml"
)

// TestMonitoringNamesWhatThereIs: every metric of the dashboard and the alert rules is one that the program has, and the
// files can be read.
func TestMonitoringNamesWhatThereIs(t *testing.T) {
	source := ""
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, "_test.go") {
			source += string(text)
		}
	}
	metric := regexp.MustCompile(`\bidbridge_[a-z_]+`)
	for _, file := range []string{"alerts.yaml", "grafana.json"} {
		text, err := os.ReadFile(filepath.Join("../../docs/monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		found := metric.FindAllString(string(text), -1)
		for _, name := range found {
			if !strings.Contains(source, `"`+strings.TrimSuffix(name, "_bucket")+`"`) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		if file == "grafana.json" && !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
		if file == "alerts.yaml" {
			var rules alertRules
			if err := strictyaml.Decode(file, text, &rules, strictyaml.Options{}).Err(); err != nil || len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
				t.Errorf("%+v, %v", rules, err)
			}
		}
	}
}

// alertRules is what Prometheus reads.
type alertRules struct {
	Groups []struct {
		Name  string `yaml:"name" required:"true"`
		Rules []struct {
			Alert  string `yaml:"alert" required:"true"`
			Expr   string `yaml:"expr" required:"true"`
			For    string `yaml:"for"`
			Labels struct {
				Severity string `yaml:"severity" required:"true" enum:"critical,warning"`
			} `yaml:"labels" required:"true"`
			Annotations struct {
				Summary string `yaml:"summary" required:"true"`
			} `yaml:"annotations" required:"true"`
		} `yaml:"rules" required:"true"`
	} `yaml:"groups" required:"true"`
}
