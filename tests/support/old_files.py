"""Files that earlier versions of the package wrote, as they wrote them."""

import base64
import zlib

PROGRAM_3 = zlib.decompress(
    base64.b85decode(
        "c-qZX-D}fO6i?UH;rv3FPl9$AqzYL{(>6(q;EN2$bQD2BY8f}l%@S>sa+7S!x{AmUpL`KPUwrn}H~$Io*^gKM3Vrb0tXYz~4upa1"
        "mP60S{hj;E$vHQj)#B`eu)h|CA0NN{{yrlJOwNGECfFpj`o#C#5yF(>$VcrFvW)5$aW?D#tS$;2H_(vSm3uuA^&P9KJ2(!2zb<D3"
        "CNXd{H4@mA__o(K4@JE&$R3uQCC0&M+F4@}>7E%eq5~3O69<^-uICceUc+l5qBsDxMwTR1M81uOV0G(a12XzvNDVL%<07KRp(I&`"
        ">jdCoy595=<afitx*w1s9IXIF_TL>L8(5+?r0jcJsJ*1YK0IK#wh`L|%8EM-12B98_aPuvYjP7TX9tY>SR5q)%SaHniR%-FupJ9X"
        "$Qgz#>p^8kC?M3ul$BQ&>%DO%8x%N6cXwqORH!v!Pqag*m*$p|+;KsHLNAlUi+N9@BxNYElQN(vf!v2a+Rrcn)pBRCP;bm$oaNC0"
        "4%Rmb^&QWJqKN3J<3d-Up{s8%4XL+5@gUBF<)#9D*_73mq#4boqA42Ibg5-EjYi$5S&A-cN=sK%#Zpz-P$g_grebMCB8DlM4P9>$"
        "6OB8$5%{^cd+h~iOwNO(y<T;P(VMjg_d1UX!lp2)n8Y_|rCqM<hP8@Vt^oIdVt3u6Ff-s^#(kfFKW;Fvugl^Mu{<sxW6i&u&$HDR"
        "U%z_=8k2J%2UB(=*_%$|f06wRR|u0l<vU;1Mnd`Ggz~}op9I<^AjKq4`%3NfYC`+$gf_c;P6FczNsjT`OYcj2pfR}slDSEbZe{0R"
        "Te&PBkM?}=k5I}J{`K(ct)#^4nW7U@-~zBI#04(QEEJFaUMA}~+noJ+@<9HUNrA;8f9LR6e&$o`ry_R)@KApCQm8pQWfFNfKLaWJ"
        "aw$I%Jd*Fl6#1oes55ym-xn$P*{N)obXH5Jn12p_AK(pC=a}^ufKCjH"
    )
)
"""A program, format version 3; its metadata hold a NaN."""
PROGRAM_3_INTEGER_KEYS = zlib.decompress(
    base64.b85decode(
        "c-qZXUu)Dr5YP2`73)8Q`l{CjIfe8{a(|ix#RsKW>Yr0kkaCp0WYa|NlCa6OO|JndMSSu_1byij@C*1YeDOu_)i*zaptI?vNw!xI"
        "3ep_I&F<`P=9k%-NoS=zJtrJI^TO@BPriSi5(FmaV8<rdB((lA@Z1r?l;S8r`UqJ@eUmurb_lCgG<4ihMdGT`?TV=HSoNNR69eow"
        "l)S+t2973LLYtDn_WI@#t2Yeu!O~b_VvHumibd4(%!m;kkPw?V#7rl?XV?jS1?f_~B_dg3iWURF9S+ulkoaJ4LrnI+Izl#tMfxI8"
        "^fr;cpu#ykAV^1Bh#dlD+4YAZECK`f3G*f^;5cx$VbO@iQ3|k(6mgHZ0bvN+u|lLPpm{@Tq+SnSb%a7fT})ZN6tU5bbKW3hsk;Zu"
        "OQ1sX2slIAgnF58DfOLX2q<)OKD>nYBuY|_5{r}rMJePd6vlyvF-R`NVy14)Zo=~D0EcTEga(f1LQ+KZ%5mYEk?;1l7JTZhQ#?rg"
        "V5QY&sWOSuwp2;eG_070(NyK0Cc$2V5KC(|P0Nsoswk?VY7N;?TL5SgwFzhB#kNFH+$q%bkG-AiyPz?-2$B_V-SwmQkDfj3yeJ79"
        "!l-7Fz@Rm~TH6`QHL+R)?jgnQnn$4tV1Ehs0|NU%)hDpNp@=udYFs_RGy7(?$hJ5C?&Dj~m|OrkY@1`r-g27%i|iMe2~3KV?|)rv"
        "rj##_DIfOpX`o#JQcQ}pugYgvQrhRowAnN{4UESmImREZe5&k$#^e%6ZZsZW%Fe%*a#cAQ?b-5gp;9FL^ZB(qX^Po9MW-ggC16uZ"
        "5?q>^D<A&>OrO{6aQ<`11NkYF0l!W0Gl$3WJ)dEB%iILup?vRU(AM;XPUPWy4`lFP)5VV9k$f#?$o<NZ%H+X(U1Z?LGx;j%tW;*$"
        "{u%h~!wvjNR(}BsjQc4"
    )
)
"""A program, format version 3, metadata with the integer keys 2 and 10: it failed its own SHA-256."""
PROGRAM_2 = zlib.decompress(
    base64.b85decode(
        "c-qZXQESss6i(K4L#GpA;+uB&r3zU|lcq_E;ERlnxlsfKsb$<GH%qilN|J8NYQYB)pL`Kv`rv=?MSSxo_~cIz{1Jkln>9;v*MT@6"
        "mU8Gh_uTKCFZZ5v(%vY|E^$ZCGI#jt`@+{5j-#>wD-OXH32IM6-y0zu1UL>+YlLjGwny9@CjzU3Trbj)(2)eW+Z9mHwQGipQ;#fB"
        "SL(2ciQ}oB$O%a3_&w`{*B?exvn9@WTCTBx4Bv_=(>{r?g(FOL&-VywZQ(5e1vmn=PF6%!K%s*NV0C1n0TDxg7?@xp%0)m=hN5Vj"
        "o*Tgm)eR*?5Z@d2x5J1GAaxTc(*Mo~IlvONAY{+qL#-7J_TfH_wU6i~P}aS{FajeqaSt3~tu85Gxd&j#V_}p6Y%@jNBVI@-!f|aN"
        "A>|nEqZ|SbF@@Y;Uj-G;lTg+NB=9r5nBtQ|gEZY-3_syEEv=YKOEcv_aSC|=#c~v30;(5sQCD|NFUR(SK906`Nf5fem%P(6*Mpl!"
        "1JBrB83g`Lfcr@tEGbP`mu*{aV4F0tWLt{av`h;V-BN8uR#Z`JYPexoibgcOF6o-Ao0_EPsxIq>CaaC6ipK3ioiEL;ExrPc$|6Ws"
        "&^2!mzukJc*?!D(yWFU1k<bjPtxEN|TdxY0DsYbi>}~r2GzP4%;$BE#Jt-ovZ%IN$zAaS7m4ALN^4xEp=ZlPu<u`|~L8EdR<hYwo"
        "C49$i{3YSD(FMX^U{+8mQeOL}Hd4x0CzOxd{5;Su11Ty++BfPKHd5M`Cba30IS-5{BpJr<uDvh61dYlSkle)lALT5av7Af4xN?#3"
        "k4HD}rbkTQDLyv`%mW)fIbeQfsdV~>F@0Xp&H2wH3uGrv2K+h0&K(xZ_I!r@P+}$k3uSvRgKo}F=|mRJ_CN-oEf+h2MY6S+AwQQ-"
        "R3-~%>mmd1%;l@3y-}W{>+|sY2sdzjo?3qZ0hIlP"
    )
)
"""A program, format version 2: ternary weights as int8."""
RECORDING_1 = zlib.decompress(
    base64.b85decode(
        "c-qZV&5G1O5KeYhMMY1G=WK(-g*GIeze(^Ui!Q9nTs+9KES>3&6L+T*JDFj_?0^s8&DRk0;-h#KJPAI6|J7N?$prVH2eF#s>#E}G"
        "{wk>+?Dp0-v{T#E?!LLcv!iR8^2?AJamu)~o|L(mAu1)UOBB!0QI=X|ksWe~_Ru5~RUhHK06UoM@8hOCRTU_>q+O}4`ZxJGMoG?U"
        "buvHZ!%3A(6eBSi7d66Y%qz-hMVoSw4@Zpzf?@|F$3`&$ddY{mU{J6vAHrOMYIRXd=t9=12z6(g%Q3AErd*a;E}HWWGr{2MLL|pG"
        "C7dZ)CLRN&98uy2P_cc&T-yo5$fc?05uTEW(>{+_-?y3XrU?lW#|^{8wmmQ86qX-xKMB2lnz8`R2P+@^m3a5@IqZ~Q1z!rbL{YzZ"
        "@bLcNk*-a(naOxLlxA$0ClklSh6(B`NyS0aE9CFcqmn}&q!t|F8v!;PY>+K%%#FXZOM1&zbq6m$Y`=z`@{2!pPtTNmEA#%9WbF@a"
        "wXG{rd~ea#1#lRZ|DmbxVCp%31H1<K6>t;q3m^vk3>X4_0=(TcrLS%D&VJSld!}ovkGxClj^~p2RPPRJm)jkYC3kDBH85RT_ZPIZ"
        "_I~}4!S1>9D!C5pJ>c7(ihcl$T@qv"
    )
)
"""A recording of PROGRAM_3, format version 1, with integer keys too."""
