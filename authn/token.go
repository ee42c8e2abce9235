package authn

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// A sign-in token is what somebody who signed in with a browser types as the password into a tool that has none. It is
// 24 letters in fours. 20 of them are random: 20 · log2(20) = 86 bits. The last four are a check sum, so that a token is
// told from a password without asking anybody: a token that has run out must never reach a directory, where a tool left
// open would lock its user out with it. A password looks like a token with a probability of one in 160,000 if it is 24
// such letters, and never otherwise.
const (
	tokenAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	tokenRandom   = 20
	tokenCheck    = 4
	tokenLetters  = tokenRandom + tokenCheck
)

// Defaults of TokenLife.
const (
	DefaultTokenFirstUse = 5 * time.Minute
	DefaultTokenLife     = 10 * time.Hour
)

// Token is a sign-in token as it is kept: without the token.
type Token struct {
	ID           string
	Hash         string   // of the token
	User         string   // ITUser.Key of the owner
	Names        []string // under which the owner may type it
	Identity     Identity // how the owner signed in when it was made
	Label        string   // the owner's own words
	Environments []string // the only ones it is good for; empty: all
	Created      time.Time
	FirstUseBy   time.Time // not used by then, it is worth nothing
	Expires      time.Time
	Revoked      time.Time // zero: not revoked

	FirstUsed, LastUsed time.Time // zero: never
	LastEnvironment     string
}

// TokenStore keeps tokens, for all nodes at once.
type TokenStore interface {
	// AddToken keeps a new token.
	AddToken(ctx context.Context, t Token) error
	// UseToken hands the token with that hash to use and keeps what use changes of FirstUsed, LastUsed and
	// LastEnvironment, atomically across nodes. use may be called more than once; its error is returned as it is, and
	// nothing is written. found is false when there is no such token.
	UseToken(ctx context.Context, hash string, use func(*Token) error) (found bool, err error)
}

// TokenRoster is what an owner sees and does with their tokens.
type TokenRoster interface {
	// Tokens returns a user's tokens that are neither revoked nor over, newest first.
	Tokens(ctx context.Context, user string, now time.Time) ([]Token, error)
	// RevokeTokens revokes one token of a user, all of them when id is empty, and tells how many that changed.
	RevokeTokens(ctx context.Context, user, id string, at time.Time) (int, error)
}

// TokenLife says how long tokens are good. The zero value stands for the defaults.
type TokenLife struct {
	FirstUse time.Duration // within which it must be used for the first time
	Life     time.Duration // from the making on
}

// NewToken makes a token for somebody who has just signed in. names are what they may type as their user name beside the
// IT user's and the provider's spelling, usually what they typed when they signed in. The token itself is returned once
// and kept nowhere.
func NewToken(r Result, names []string, life TokenLife, now time.Time) (Secret, Token) {
	if life.FirstUse == 0 {
		life.FirstUse = DefaultTokenFirstUse
	}
	if life.Life == 0 {
		life.Life = DefaultTokenLife
	}
	letters := randomLetters(tokenRandom)
	letters += tokenSum(letters)
	t := Token{
		ID: rand.Text(), Hash: tokenHash(letters), User: r.User.Key, Identity: r.Identity,
		Created: now, FirstUseBy: now.Add(life.FirstUse), Expires: now.Add(life.Life),
	}
	if until := r.Identity.Until; !until.IsZero() && until.Before(t.Expires) { // as for sessions: not beyond the source's own
		t.Expires = until
	}
	for _, name := range append([]string{r.User.Username, r.Identity.Username}, names...) {
		if folded := FoldName(name); folded != "" && !slices.Contains(t.Names, folded) {
			t.Names = append(t.Names, folded)
		}
	}
	return Secret(inFours(letters)), t
}

func randomLetters(n int) string {
	var b strings.Builder
	for range n {
		i, _ := rand.Int(rand.Reader, big.NewInt(int64(len(tokenAlphabet)))) // never fails; crypto/rand ends the process instead
		b.WriteByte(tokenAlphabet[i.Int64()])
	}
	return b.String()
}

func inFours(letters string) string {
	var groups []string
	for part := range slices.Chunk([]byte(letters), 4) {
		groups = append(groups, string(part))
	}
	return strings.Join(groups, "-")
}

// tokenSum is the check sum of the random letters. It is no secret and protects nothing.
func tokenSum(letters string) string {
	sum := sha256.Sum256([]byte("idbridge token check\x00" + letters))
	var b strings.Builder
	for _, x := range sum[:tokenCheck] {
		b.WriteByte(tokenAlphabet[int(x)%len(tokenAlphabet)])
	}
	return b.String()
}

// tokenText is a token without its dashes, in upper case; ok is false when the text is no token.
func tokenText(typed Secret) (letters string, ok bool) {
	letters = strings.ToUpper(string(typed))
	if len(letters) != tokenLetters {
		letters = strings.ReplaceAll(letters, "-", "")
		if len(letters) != tokenLetters || inFours(letters) != strings.ToUpper(string(typed)) {
			return "", false
		}
	}
	if strings.Trim(letters, tokenAlphabet) != "" {
		return "", false
	}
	return letters, tokenSum(letters[:tokenRandom]) == letters[tokenRandom:]
}

func isToken(typed Secret) bool {
	_, ok := tokenText(typed)
	return ok
}

// tokenHash is how a token is kept and found. A plain hash is enough: 86 random bits cannot be guessed.
func tokenHash(letters string) string {
	sum := sha256.Sum256([]byte("idbridge sign-in token\x00" + letters))
	return hex.EncodeToString(sum[:])
}

// withToken redeems a sign-in token. No directory is asked: a token also works while it is down. An unknown token is
// counted, apart from passwords; one that was good once is not, because a tool left open sends it again and again.
func (s *Service) withToken(ctx context.Context, in *signIn) (Identity, error) {
	if err := checkUsername(in.Username); err != nil {
		return Identity{}, err
	}
	attempt, err := s.Throttle.Begin(ctx, TokenThrottleKey(in.Username))
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = attempt.Abandoned(context.WithoutCancel(ctx)) }() // only a panic leaves it open until here
	identity, err := s.redeem(ctx, in)
	if ReasonOf(err) == reasonTokenUnknown {
		return Identity{}, errors.Join(attempt.Failed(context.WithoutCancel(ctx)), err)
	}
	if ended := attempt.Abandoned(context.WithoutCancel(ctx)); ended != nil {
		return Identity{}, ended
	}
	return identity, err
}

const reasonTokenUnknown = "token_unknown"

func (s *Service) redeem(ctx context.Context, in *signIn) (Identity, error) {
	letters, _ := tokenText(in.Password)
	var token Token
	found, err := s.Tokens.UseToken(ctx, tokenHash(letters), func(t *Token) error {
		now := s.Now()
		token = *t
		if err := t.mayUse(in, now); err != nil {
			return err
		}
		if t.FirstUsed.IsZero() {
			t.FirstUsed = now
		}
		t.LastUsed, t.LastEnvironment = now, in.Environment.Name
		token = *t
		return nil
	})
	if err != nil {
		s.nameOwner(ctx, in, token)
		return Identity{}, storeError(err)
	}
	if !found {
		return Identity{}, &Error{Kind: BadCredentials, Reason: reasonTokenUnknown}
	}
	return s.tokenOwner(ctx, in, token)
}

// nameOwner fills in whose token was refused, for the record: its owner is shown it. Who only tries it is not the owner.
func (s *Service) nameOwner(ctx context.Context, in *signIn, t Token) {
	if !t.belongsTo(in.Username) {
		return
	}
	in.provider, _ = s.router.byID(t.Identity.Provider)
	in.account = Account{Identity: t.Identity}
	in.account.Factors = nil
	_ = s.findUser(ctx, in)
}

// mayUse judges the token by itself.
func (t *Token) mayUse(in *signIn, now time.Time) error {
	reason := ""
	switch {
	case !t.belongsTo(in.Username):
		reason = "token_of_another_user"
	case !t.Revoked.IsZero():
		reason = "token_revoked"
	case !now.Before(t.Expires):
		reason = "token_expired"
	case t.FirstUsed.IsZero() && !now.Before(t.FirstUseBy):
		reason = "token_never_used"
	case len(t.Environments) > 0 && !slices.Contains(t.Environments, in.Environment.Name):
		reason = "token_of_another_environment"
	default:
		return nil
	}
	return &Error{Kind: BadCredentials, Reason: reason, Provider: t.Identity.Provider}
}

func (t *Token) belongsTo(typed string) bool {
	mine := false
	for _, name := range t.Names { // no early exit: the time must not tell which
		mine = subtle.ConstantTimeCompare([]byte(name), []byte(FoldName(typed))) == 1 || mine
	}
	return mine
}

// tokenOwner judges the IT user behind a good token as they are now: linked to the same account, active, known here.
func (s *Service) tokenOwner(ctx context.Context, in *signIn, t Token) (Identity, error) {
	var known bool
	if in.provider, known = s.router.byID(t.Identity.Provider); !known {
		return Identity{}, &Error{Kind: BadCredentials, Reason: "token_of_removed_provider",
			Err: fmt.Errorf("provider %q is not configured", t.Identity.Provider)}
	}
	in.account = Account{Identity: t.Identity}
	in.account.Factors = nil
	if err := s.findUser(ctx, in); err != nil {
		return Identity{}, err
	}
	if err := in.mayEnter(FactorNever); err != nil { // the second factor was proven when the token was made
		return Identity{}, err
	}
	if in.user.Key != t.User || !in.user.Linked {
		return Identity{}, &Error{Kind: BadCredentials, Reason: "token_of_another_user", Provider: t.Identity.Provider}
	}
	identity := in.account.Identity
	identity.Factors = []string{FactorToken}
	return identity, nil
}
