package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/admin"
	"github.com/idbridge/idbridge/insight"
)

func newAuditStatistics(s *settings) *cobra.Command {
	var last, environment, provider, output string
	cmd := &cobra.Command{
		Use: "statistics", Short: "Count sign-ins over time: granted, refused by kind, how long they took",
		Long: `Counts sign-ins, as the administrators' charts show them. A running server keeps the counts; what it has not counted yet is
not in them (seconds, after an upgrade minutes).`,
		Example: "  idbridge audit statistics\n  idbridge audit statistics --last 7d --provider corp -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := parseTime("--last", last, now)
			if err != nil || !from.Before(now) {
				return usageError{fmt.Errorf("--last %q: want 6h, 24h, 7d or the like", last)}
			}
			return withBackend(cmd, s, func(b *backend) error {
				look, err := insight.Look(cmd.Context(), b.store, from, now, environment, provider)
				if err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), output, []string{"FROM", "GRANTED", "REFUSED", "95 % WITHIN"}, columnsOf(look),
					admin.StatisticsOf(look))
			})
		},
	}
	cmd.Flags().StringVar(&last, "last", "24h", "how far back")
	cmd.Flags().StringVar(&environment, "environment", "", "only of this environment")
	cmd.Flags().StringVar(&provider, "provider", "", "only of this provider")
	outputFlag(cmd, &output)
	return cmd
}

// columnsOf are the charts' columns in which anybody signed in, and a last line for all of them.
func columnsOf(look insight.Overview) (rows [][]string) {
	granted, refused, slow := look.SignIns.Series[0].Values, look.SignIns.Series[1].Values, look.Latency.Series[1].Values
	for i := range granted {
		if granted[i]+refused[i] == 0 {
			continue
		}
		within := "-"
		if !math.IsNaN(slow[i]) {
			within = time.Duration(slow[i] * float64(time.Second)).Round(time.Millisecond / 10).String()
		}
		at := look.SignIns.From.Add(time.Duration(i) * look.SignIns.Span).UTC().Format(time.RFC3339)
		rows = append(rows, []string{at, strconv.Itoa(int(granted[i])), strconv.Itoa(int(refused[i])), within})
	}
	for _, kind := range look.Failures.Series {
		n := 0.0
		for _, v := range kind.Values {
			n += v
		}
		rows = append(rows, []string{kind.Name, "", strconv.Itoa(int(n)), ""})
	}
	return append(rows, []string{"all", strconv.FormatInt(look.Granted, 10), strconv.FormatInt(look.Refused, 10), ""})
}
