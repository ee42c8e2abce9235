package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idbridge/idbridge/platform"
)

// platformFlags are the flags of platform.
type platformFlags struct {
	user, password, passwordFile string
	caller, secretFile           string
	caFile, certFile, keyFile    string
	module                       bool
	timeout                      time.Duration
}

func newPlatform() *cobra.Command {
	var f platformFlags
	cmd := &cobra.Command{
		Use: "platform URL", Short: "Play the platform: try a plugin as LifeTime would",
		Long: `Fetches the plugin's WSDL and holds it against the contract, lists capabilities, runs test and activation, and signs a
user in. Prints a transcript. Exit code 1 when something a platform would refuse is wrong, or the user was not signed in.

Without --password and --password-file the password is asked for, or read from standard input.`,
		Example: `  idbridge platform https://idbridge.example.com:8443/IDBridge/OSPlatformAuthentication.asmx \
      --caller production --secret-file secrets/production --user alice`,
		Args: exactly("URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return playPlatform(cmd, args[0], f) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "sign this user in")
	cmd.Flags().StringVar(&f.password, "password", "", "their password, with the code directly behind it (visible to others on this machine)")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "a file that holds it")
	cmd.Flags().StringVar(&f.caller, "caller", "", "user name of the environment's credentials")
	cmd.Flags().StringVar(&f.secretFile, "secret-file", "", "a file that holds their secret")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "PEM: whom to trust; absent: the system's authorities")
	cmd.Flags().StringVar(&f.certFile, "cert-file", "", "PEM: the environment's client certificate")
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "PEM: its private key")
	cmd.Flags().BoolVar(&f.module, "module", false, "play a thin module that looks ids up by itself")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "of each call")
	return cmd
}

func playPlatform(cmd *cobra.Command, url string, f platformFlags) error {
	client, err := f.client()
	if err != nil {
		return usageError{err}
	}
	secret, err := fromFile(f.secretFile)
	if err != nil {
		return usageError{err}
	}
	password, err := f.readPassword(cmd)
	if err != nil {
		return usageError{err}
	}
	return platform.Run(cmd.Context(), platform.Options{
		URL: url, Client: client, Out: cmd.OutOrStdout(), Caller: f.caller, Secret: secret,
		Username: f.user, Password: password, Module: f.module, Timeout: f.timeout,
	})
}

func (f platformFlags) client() (*http.Client, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		var err error
		if c.RootCAs, err = readRoots(f.caFile); err != nil {
			return nil, err
		}
	}
	if f.certFile != "" || f.keyFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Timeout: f.timeout, Transport: &http.Transport{TLSClientConfig: c, Proxy: http.ProxyFromEnvironment}}, nil
}

func (f platformFlags) readPassword(cmd *cobra.Command) (string, error) {
	switch {
	case f.user == "" || f.password != "":
		return f.password, nil
	case f.passwordFile != "":
		return fromFile(f.passwordFile)
	}
	return askSecret(cmd, fmt.Sprintf("Password of %s, with the code directly behind it if there is one: ", printable(f.user)))
}

// fromFile reads a secret without the line break at its end.
func fromFile(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	return strings.TrimRight(string(text), "\r\n"), err
}
