package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/audit"
	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/webhook"
)

// WebhookConfig is somebody who is told of security events.
type WebhookConfig struct {
	ID      string        `yaml:"id" required:"true" doc:"its name for commands, log and metrics"`
	URL     string        `yaml:"url" required:"true" doc:"where messages are posted: https; http only to this machine"`
	Secret  authn.Secret  `yaml:"secret" required:"true" doc:"messages are signed with it, docs/operations.md; at least 32 bytes: openssl rand -base64 32"`
	Events  []string      `yaml:"events" doc:"only these; absent: all. docs/operations.md lists them"`
	CAFile  string        `yaml:"ca_file" doc:"PEM: the authorities to trust instead of the system's"`
	Timeout time.Duration `yaml:"timeout" default:"10s" doc:"for one attempt; what is not taken is sent again for about a day"`
}

func (c Config) endpoint(w WebhookConfig) (e webhook.Endpoint, err error) {
	e = webhook.Endpoint{ID: w.ID, URL: w.URL, Secret: w.Secret, Events: w.Events, Timeout: w.Timeout}
	if w.CAFile != "" {
		e.CA, err = os.ReadFile(c.path(w.CAFile))
	}
	return e, err
}

// endpoints are those whose files can be read; the others were refused with the configuration.
func (c Config) endpoints() (list []webhook.Endpoint) {
	for _, w := range c.Webhooks {
		if e, err := c.endpoint(w); err == nil {
			list = append(list, e)
		}
	}
	return list
}

func (k checker) webhooks() {
	ids := map[string]string{}
	for i, w := range k.Webhooks {
		where := at("webhooks", i)
		k.once(ids, where+".id", "id "+w.ID)
		e, err := k.endpoint(w)
		k.refuseIf(err != nil, where+".ca_file", "%v", err)
		if err == nil {
			err = e.Check()
			k.refuseIf(err != nil, where+".url", "%v", err)
		}
		k.refuseIf(w.Timeout <= 0 || w.Timeout > time.Minute, where+".timeout", "want more than 0s, at most 1m")
		for _, event := range w.Events {
			k.refuseIf(!slices.Contains(webhook.Events(), event), where+".events", "%q is none of %s", event, strings.Join(webhook.Events(), ", "))
		}
	}
}

// sendWebhooks tells the endpoints that are configured now.
func (w *bridge) sendWebhooks(ctx context.Context, endpoints func() []webhook.Endpoint) {
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "idbridge_webhook_attempts_total",
		Help: "Attempts to send a message, by outcome: sent, failed (it is sent again) or dead (given up).",
	}, []string{"endpoint", "outcome"})
	w.metrics.registry.MustRegister(sent)
	(&webhook.Sender{
		Outbox: w.store, Leases: w.store, Endpoints: endpoints, Holder: nodeName(), Log: w.log, Now: time.Now,
		Observe: func(endpoint, outcome string) { sent.WithLabelValues(endpoint, outcome).Inc() },
	}).Run(ctx)
}

func newWebhooks(s *settings) *cobra.Command {
	cmd := group("webhooks", "Who is told of security events: list, try, send again",
		newWebhooksList(s), newWebhooksTest(s), newWebhooksResend(s))
	cmd.Example = "  idbridge webhooks test soc\n  idbridge webhooks list\n  idbridge webhooks resend"
	return cmd
}

func newWebhooksList(s *settings) *cobra.Command {
	var output string
	var n int
	cmd := &cobra.Command{
		Use: "list", Short: "List the messages that wait, and those that were given up",
		Example: "  idbridge webhooks list\n  idbridge webhooks list -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withBackend(cmd, s, func(b *backend) error {
				all, rows := []webhook.Message{}, [][]string{}
				for _, state := range []webhook.State{webhook.Waiting, webhook.Dead} {
					list, err := b.store.WebhookMessages(cmd.Context(), state, n)
					if err != nil {
						return err
					}
					all = append(all, list...)
				}
				for _, m := range all {
					rows = append(rows, []string{m.Endpoint, m.ID, string(m.State), fmt.Sprint(m.Attempts), m.Created.Format(time.RFC3339), m.Trouble})
				}
				return show(cmd.OutOrStdout(), output, []string{"ENDPOINT", "MESSAGE", "STATE", "ATTEMPTS", "MADE", "TROUBLE"}, rows, all)
			})
		},
	}
	outputFlag(cmd, &output)
	cmd.Flags().IntVarP(&n, "limit", "n", 100, "at most so many of each")
	return cmd
}

func newWebhooksTest(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "test ENDPOINT", Short: "Send one message of the event test, now, and see what the endpoint says",
		Example: "  idbridge webhooks test soc", Args: exactly("ENDPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(s.config)
			if err != nil {
				return err
			}
			endpoints := c.endpoints()
			i := slices.IndexFunc(endpoints, func(e webhook.Endpoint) bool { return e.ID == args[0] })
			if i < 0 {
				return usageError{fmt.Errorf("there is no webhook %q in the configuration", args[0])}
			}
			r := audit.Record{Time: time.Now().UTC(), ID: newID(), Action: "test", Actor: operator(), Kind: authn.OK.String()}
			if err := endpoints[i].Send(cmd.Context(), webhook.TestMessage(endpoints[i], r), time.Now()); err != nil {
				return fmt.Errorf("it was not taken: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "taken")
			return nil
		},
	}
}

func newWebhooksResend(s *settings) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "resend MESSAGE | --all", Short: "Send messages again that were given up",
		Example: "  idbridge webhooks resend user.locked-5f0c1d2e3f4a5b6c7d8e9f00\n  idbridge webhooks resend --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usageError{errors.New("want a MESSAGE, or --all")}
			}
			return withBackend(cmd, s, func(b *backend) error {
				n, err := b.store.ResendMessages(cmd.Context(), append(args, "")[0], time.Now())
				if err != nil {
					return err
				}
				if n == 0 && !all {
					return fmt.Errorf("no message %q was given up: idbridge webhooks list", args[0])
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d message(s) wait again; a running server sends them\n", n)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that were given up")
	return cmd
}
