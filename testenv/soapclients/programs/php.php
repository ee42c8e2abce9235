<?php
// A SOAP client by PHP's SoapClient. See soapclients.go for what goes in and out.
[, $url, $user, $version] = $argv;
$client = new SoapClient("$url?wsdl", [
    'login' => $user, 'password' => getenv('SOAP_SECRET'), 'cache_wsdl' => WSDL_CACHE_NONE,
    'soap_version' => $version === '1.2' ? SOAP_1_2 : SOAP_1_1, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
]);
while (($line = fgets(STDIN)) !== false) {
    $args = explode("\t", rtrim($line, "\n"));
    $method = array_shift($args);
    $in = [];
    if ($method === 'Plugin_SetConfigurations') {
        $item = ['Name' => $args[0], 'Value' => $args[1]];
        $in = ['Configuration' => ['PluginAPIConfigurationParameter' => [$item]]];
    } else {
        foreach ($args as $i => $a) {
            $in[['Username', 'Password'][$i]] = $a;
        }
    }
    try {
        $r = $client->__soapCall($method, [$in]);
        $s = $r->Status ?? null;
        $list = $r->SupportedCapabilities->Capability ?? $r->Configuration->PluginAPIConfigurationParameter ?? [];
        $answer = $s === null ? new stdClass : [
            'success' => $s->Success, 'responseId' => $s->ResponseId, 'message' => $s->ResponseMessage,
            'info' => $s->ResponseAdditionalInfo, 'userId' => $r->UserId ?? 0,
            'pairs' => array_map(fn($p) => [$p->Name, $p->Value], $list)];
    } catch (SoapFault $f) {
        $answer = ['fault' => $f->getMessage()];
    }
    echo json_encode($answer), "\n";
}
