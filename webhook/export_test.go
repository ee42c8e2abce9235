package webhook

// Sign is the signature of a body.
var Sign = sign
