"""Ordinary words in a dozen languages, for speech that need not make sense.

The lips need a variety of sounds, not of meaning: a handful of words a language is enough.
"""

WORDS: dict[str, tuple[str, ...]] = {
    "en-us": tuple(
        """
        about after again all always another apple because before behind believe better big birthday book both
        bread bring brother build busy butter came carry change children clean cloud coffee cold colour dance
        dinner door down dream early east every face family far father find fire five flower follow food forward
        four friend full garden give good grow half happy have hear help here home house hundred idea important
        just keep kitchen know large later laugh learn leave letter light little live long look make many maybe
        mean money moon morning mother move much music name never night nothing number often open other over
        paper people perhaps picture place play please point problem question quick quiet rain read ready really
        remember river room round same school seven shape show simple sister slow small smile something
        sometimes song soon speak spring start stay still stop story street strong summer sure table talk teach
        tell thank think three through time today together tomorrow tree turn under until usual very visit voice
        wait walk want warm water week welcome well white whole why window winter woman wonder word work world
        would write year yellow young
        """.split()
    ),
    "en-gb-x-rp": tuple(
        """
        afternoon almost answer beautiful between bicycle biscuit bottle bridge bus cheese church corner cousin
        cup daughter evening farm favourite field football forest glass grass holiday hope journey kettle lamp
        market minute mountain neighbour orange parcel pocket potato postbox quarter rabbit railway rather
        season shelf shoulder spoon station sugar supper thunder ticket tomato tower town umbrella village
        weather whistle wool
        """.split()
    ),
    "de": tuple(
        """
        aber abend alle apfel arbeit auch baum blume brot bruder buch dann deutsch dorf drei einfach essen
        fahren familie fenster feuer finden fisch frage frau freund früh fünf garten geben gehen glück groß gut
        haben haus heute himmel hören immer jahr kaffee kind klein kommen küche lachen leben licht machen milch
        mutter musik nacht neu oder öffnen papier platz regen schnee schön schule schwester sommer sprechen
        stadt straße tisch über vater viel vogel wasser wetter wort zeit zimmer zusammen zwei
        """.split()
    ),
    "es": tuple(
        """
        abrir agua ahora alegre amigo antes azul bailar barco beber bueno café calle cama camino campo cantar
        casa cerca cielo ciudad comer cuando decir dinero dulce escuela esperar familia fiesta flor grande
        guitarra hablar hermano hoja huevo invierno jardín joven lejos libro lluvia luna luz madre mañana mesa
        mujer mundo música niño noche nuevo ojo padre palabra pan pequeño perro playa pueblo puerta queso reloj
        río rojo sol sombra tarde tiempo trabajo ventana verano vida
        """.split()
    ),
    "fr": tuple(
        """
        aimer ami année arbre attendre aujourd'hui avant avec beau beurre blanc boire bois bonjour bouche chaise
        chambre chat chemin ciel cœur comme demain dernier dormir eau école enfant entendre été famille femme
        fenêtre feu fleur frère froid fromage gare grand heure hiver homme jardin jour jeune lait lettre livre
        loin lumière lune main maison manger matin mer monde montagne mot musique neige nuit oiseau ouvrir pain
        papier parler petit peuple pluie porte pomme rire rouge route rue silence soleil sœur table temps terre
        toujours vent ville voix vouloir
        """.split()
    ),
    "it": tuple(
        """
        acqua albero allegro amico andare anno aprire bambino bello bere bianco bicchiere bosco buono caffè
        cantare casa cena chiave cielo città colore correre cucina cuore dare domani dormire estate fame fiore
        fiume forte fratello freddo fuoco gatto giallo giardino giorno giovane grande inverno lago latte leggere
        libro luce luna madre mangiare mare mattina mondo montagna musica neve notte nuovo occhio pane parlare
        parola piazza piccolo pioggia porta ragazzo sempre sole sorella strada tavolo tempo treno uomo vento
        verde vino voce
        """.split()
    ),
    "pt": tuple(
        """
        abrir água alegria amigo amanhã ano azul barco beber bola bom cachorro café caminho cantar casa cedo céu
        chuva cidade comer coração dançar dia dinheiro dormir escola falar família feliz festa flor fogo frio
        grande homem irmão janela jardim jovem livro longe lua luz mãe manhã mar mesa mulher mundo música noite
        novo olho ouvir pai palavra pão pequeno porta praia primavera queijo rio rua sol tarde tempo trabalho
        verde viagem vida vinho
        """.split()
    ),
    "nl": tuple(
        """
        altijd appel avond bloem boek boom boter broer brood buiten dag deur dorp drie eten familie fiets geel
        goed groot half huis jaar jongen kaas kamer keuken kind klein koffie komen koud lachen land leven licht
        lopen maan meisje melk moeder mooi morgen muziek nacht nieuw ochtend oog open papier praten regen samen
        school sneeuw spelen stad stoel straat tafel thuis tijd tuin twee vader veel vogel voor vriend vuur warm
        water weer woord zee zomer zon zuster
        """.split()
    ),
    "sv": tuple(
        """
        alltid barn blomma bok bra bror bröd dag dörr fem fisk flicka fråga fågel glad god gul hav hem himmel
        hus höst jord kaffe kall komma kväll köpa landet leka ljus luft mamma mat morgon mycket måne natt ny ost
        pappa pojke regn röd sjö skog skola skratta snö sol sommar sova språk stad stol stor syster tala tid
        träd tåg vacker varm vatten vinter vän väg år ö
        """.split()
    ),
    "pl": tuple(
        """
        babcia biały brat chleb chłopiec ciepły cisza czas człowiek dobry dom droga drzewo dziecko dzień głos
        góra jabłko jesień kawa kobieta kolor kot książka kwiat las lato lekcja list łóżko mama mały miasto
        mleko morze mowa muzyka noc nowy obiad okno oko ogień owoc papier pies piękny pociąg pole praca ptak
        ranek rodzina rok ryba serce siostra słońce słowo szkoła śnieg świat targ ulica wiatr wieczór woda
        wszystko zima żółty życie
        """.split()
    ),
    "fi": tuple(
        """
        aamu aika aina aurinko avata hyvä iloinen ilta isä järvi kahvi kala kaunis kesä kirja kirje kissa koira
        koti koulu kuu kukka kuusi kylmä laulaa leipä lintu lumi lämmin maa maito meri metsä musiikki mökki nimi
        nuori olla omena ovi pieni poika puhua puu pöytä ruoka saari sade sana silmä sisko suuri syksy talo
        talvi tie tuli tuuli tyttö uusi vanha vesi ystävä yö äiti
        """.split()
    ),
    "cs": tuple(
        """
        barva bílý bratr být cesta chléb dcera den dítě dobrý domov duha dveře dům hlas hora hrad hudba hvězda
        jablko jaro kamarád káva kniha kolo květina léto les list louka malý máma mluvit moře město mléko nebe
        noc nový obchod okno oheň otec papír pes píseň pole pomalu práce pták ráno řeka ruka sestra slovo slunce
        sníh stůl strom škola šťastný teplo tráva ulice velký večer vítr voda vlak zahrada zima žlutý život
        """.split()
    ),
    "tr": tuple(
        """
        abla açık ağaç akşam anne araba arkadaş ay baba bahçe balık bardak bebek beyaz bulut büyük çiçek çocuk
        dağ deniz dil dost dünya ekmek elma ev gece gelmek göz güneş güzel hafta hava her ışık kahve kapı kardeş
        kış kitap konuşmak köy kuş küçük masa mavi müzik okul oyun pazar pencere peynir renk ses sabah sarı
        sokak söz su süt şehir şarkı taş uzun üç vakit yağmur yaz yeni yeşil yıldız yol zaman
        """.split()
    ),
}
"""espeak-ng's language name to words."""
